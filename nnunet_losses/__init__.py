"""Segmentation losses. Importing this package imports nothing heavy: PyTorch comes with the first loss.

Example:
    >>> import nnunet_losses
    >>> "dice_ce" in nnunet_losses.list_losses()
    True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .registry import LossSpec, create_loss, get_loss_spec, list_losses

__all__ = ["LossSpec", "create_loss", "get_loss_spec", "list_losses"]


def __getattr__(name: str) -> Any:
    """Import the registry when one of its names is first asked for (PEP 562)."""
    if name in __all__:
        return getattr(import_module(".registry", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Show the lazy names too."""
    return sorted({*globals(), *__all__})
