"""Trainer name -> trainer class, also where nnU-Net's own search breaks on an unrelated module."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.trainers.names import TrainerNameError, parse
from nnunet_losses.trainers.variants import variant_class

from .errors import ExportRefused, ModelFolderError, Reason
from .quiet import quiet

if TYPE_CHECKING:
    from nnunet_losses.trainers.names import Configuration

STOCK_TRAINER = "nnUNetTrainer"


def find_trainer_class(name: str) -> Any:
    """Find the class whose ``build_network_architecture`` made the network.

    Our trainers add a loss to nnU-Net's trainer, or to one of its variants, and leave the network alone:
    theirs is that class. Every other name is looked up by nnU-Net's search (``nnUNet_extTrainer`` included).
    That search imports all modules of nnU-Net, and one that cannot be imported (a torchvision that does not
    fit torch) ends it; a trainer that nnU-Net itself ships is then imported alone.

    Raises:
        ModelFolderError: no such trainer here; the message says how to make it visible.
        ExportRefused: the search crashes, for a reason that has nothing to do with this model.
    """
    ours = our_configuration(name)
    if ours is not None or name == STOCK_TRAINER:
        return variant_class(ours.variant if ours else None)
    try:
        return _nnunets_search(name)
    except Exception as error:
        shipped = _shipped_by_nnunet(name)
        if shipped is not None:
            return shipped
        if "Could not find requested nnunet trainer" in str(error):
            raise ModelFolderError(
                f"The checkpoint was trained by {name}, which nnU-Net does not find here. Install the "
                "package that defines it, or point the environment variable nnUNet_extTrainer at its folder."
            ) from error
        raise ExportRefused([_broken_search(name, error)]) from error


def our_configuration(name: str) -> Configuration | None:
    """Read one of this package's trainer names; None for every other."""
    try:
        return parse(name)
    except TrainerNameError:
        return None


def _nnunets_search(name: str) -> Any:
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name  # noqa: PLC0415 - heavy

    with quiet():
        return recursive_find_trainer_class_by_name(name)


def _shipped_by_nnunet(name: str) -> Any:
    package = import_module("nnunetv2.training.nnUNetTrainer")
    root = Path(next(iter(package.__path__)))
    definition = re.compile(rf"^class {re.escape(name)}\b", re.MULTILINE)
    for path in sorted(root.rglob("*.py")):
        if definition.search(path.read_text(encoding="utf-8")):
            module = ".".join((package.__name__, *path.relative_to(root).with_suffix("").parts))
            return getattr(import_module(module), name)
    return None


def _broken_search(name: str, error: Exception) -> Reason:
    return Reason(
        f"nnU-Net's search for trainer {name} crashed ({type(error).__name__}: {error}).",
        "Run 'nnunet-losses doctor' to see why; --mend repairs a torchvision that does not fit torch.",
    )
