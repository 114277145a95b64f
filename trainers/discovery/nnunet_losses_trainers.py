"""What nnU-Net finds when nnUNet_extTrainer names this folder: it forwards to the installed package.

nnU-Net forgets modules of such folders after each search. A class defined here would be another one
after every search and could not be pickled, so none is.
"""

from __future__ import annotations

from typing import Any

from nnunet_losses import trainers


def __getattr__(name: str) -> Any:
    """Hand out trainers, and nothing else of the package (its ``__path__``, for example)."""
    if name.startswith("nnUNetTrainer"):
        return getattr(trainers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
