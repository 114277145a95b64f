"""nnU-Net trainers, one per loss: every name of the grammar in ``names`` is an attribute of this package.

Importing it imports neither PyTorch nor nnU-Net; asking for a trainer does.

Example:
    >>> from nnunet_losses import trainers
    >>> trainers.nnUNetTrainerTversky_fp0p2_fn0p8_250epochs.epochs
    250
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import LossTrainer, with_loss
    from .plugin import disable, enable, register

__all__ = ["LossTrainer", "disable", "enable", "register", "with_loss"]

_HOMES = {
    "LossTrainer": "base",
    "with_loss": "base",
    "register": "plugin",
    "enable": "plugin",
    "disable": "plugin",
}
_told: set[str] = set()


def __getattr__(name: str) -> Any:
    """Make a trainer class when it is first asked for; later the same class (PEP 562).

    Raises:
        AttributeError: the name is none of ours. nnU-Net then goes on searching. If the name begins like
            one of ours, the nearest valid one is printed to standard error.
    """
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    if not name.startswith("nnUNetTrainer"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _refuse_foreign(name)
    made = import_module(".base", __name__).trainer_class(name, module=__name__)
    return globals().setdefault(name, made)


def __dir__() -> list[str]:
    """List the trainers with default parameters; those with others exist as soon as they are asked for."""
    names = import_module(".names", __name__)
    return sorted({*globals(), *__all__, *names.default_names()})


def _refuse_foreign(name: str) -> None:
    names = import_module(".names", __name__)
    try:
        names.parse(name)
    except names.TrainerNameError as error:
        if error.resembles and name not in _told:
            _told.add(name)
            print(f"nnunet-losses: {error} nnU-Net goes on searching elsewhere.", file=_standard_error())
        raise AttributeError(str(error), name=name) from None


def _standard_error() -> Any:
    return import_module("sys").stderr
