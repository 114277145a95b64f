"""nnU-Net's own trainer variants that a loss can be combined with."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PACKAGE = "nnunetv2.training.nnUNetTrainer"
_CLASSES_BY_MODULE = {
    "data_augmentation.nnUNetTrainerDA5": ("DA5", "DA5ord0", "DA5Segord0"),
    "data_augmentation.nnUNetTrainerNoDA": ("NoDA",),
    "data_augmentation.nnUNetTrainerDAOrd0": ("_DASegOrd0", "_DASegOrd0_NoMirroring"),
    "data_augmentation.nnUNetTrainer_noDummy2DDA": ("_noDummy2DDA",),
    "data_augmentation.nnUNetTrainerNoMirroring": (
        "NoMirroring",
        "_onlyMirror01",
        "_onlyMirror01_DASegOrd0",
    ),
    "competitions.aortaseg24": ("_onlyMirror01_DA5",),
    "lr_schedule.nnUNetTrainer_warmup": ("_warmup",),
    "lr_schedule.nnUNetTrainerCosAnneal": ("CosAnneal",),
    "optimizer.nnUNetTrainerAdam": (
        "Adam",
        "Adam1en3",
        "Adam3en4",
        "VanillaAdam",
        "VanillaAdam1en3",
        "VanillaAdam3en4",
    ),
    "optimizer.nnUNetTrainerAdan": ("Adan", "Adan1en3", "Adan3en4", "Adan1en1", "AdanCosAnneal"),
    "network_architecture.nnUNetTrainerNoDeepSupervision": ("NoDeepSupervision",),
    "network_architecture.nnUNetTrainerBN": ("BN",),
    "sampling.nnUNetTrainer_probabilisticOversampling": (
        "_probabilisticOversampling",
        "_probabilisticOversampling_033",
        "_probabilisticOversampling_010",
    ),
}

# variant -> (module, class). The table is closed: what a name means must not depend on the installed nnU-Net.
# Left out: variants that only set a loss or a number of epochs (the name says both itself), or measure speed.
VARIANTS = {
    suffix.removeprefix("_"): (f"{_PACKAGE}.variants.{module}", f"nnUNetTrainer{suffix}")
    for module, suffixes in _CLASSES_BY_MODULE.items()
    for suffix in suffixes
}


def variant_class(variant: str | None) -> Any:
    """Import nnU-Net's trainer class of a variant, and nothing else of nnU-Net's variants.

    nnU-Net's own search imports every trainer module until it finds the class, and dies of the first that
    cannot be imported (those that need a working torchvision, for instance).

    Args:
        variant: a key of ``VARIANTS``; None for the plain ``nnUNetTrainer``.

    Raises:
        ImportError: nnunetv2 is absent, or this version of it has no such class.
    """
    module, name = VARIANTS[variant] if variant else (f"{_PACKAGE}.nnUNetTrainer", "nnUNetTrainer")
    try:
        return getattr(import_module(module), name)
    except (AttributeError, ModuleNotFoundError) as error:
        raise ImportError(
            f"nnU-Net's trainer class {name} was not found in {module} ({error}). nnunetv2 2.8 has it: "
            'pip install "nnunetv2>=2.8,<2.9"; "nnunet-losses doctor" shows what is installed.'
        ) from error
