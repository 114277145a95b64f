"""The losses of other libraries, made to take logits (B, C, *S) and class ids (B, 1, *S)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from torch import Tensor

Contender = Callable[["Tensor", "Tensor"], "Tensor"]

UNIT = "nnU-Net DC_and_CE_loss"
DICE = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}


def nnunet_ce() -> Contender:
    """Return nnU-Net's default loss: the unit."""
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    return DC_and_CE_loss(DICE, {}, dice_class=MemoryEfficientSoftDiceLoss)


def nnunet_topk() -> Contender:
    """Return nnU-Net's Dice plus TopK."""
    from nnunetv2.training.loss.compound_losses import DC_and_topk_loss

    return DC_and_topk_loss(DICE, {"k": 10})


def monai(name: str, **settings: object) -> Callable[[], Contender]:
    """Return the maker of a MONAI loss on class ids."""
    return lambda: getattr(import_module("monai.losses"), name)(
        to_onehot_y=True, softmax=True, include_background=False, **settings
    )


def monai_on_probabilities(name: str, **settings: object) -> Callable[[], Contender]:
    """Return the maker of a MONAI loss that takes probabilities."""

    def make() -> Contender:
        loss = getattr(import_module("monai.losses"), name)(to_onehot_y=True, **settings)
        return lambda logits, target: loss(logits.softmax(1), target)

    return make


def flat(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Join depth and height: kornia and smp know two axes. Their losses do not look at neighbours."""
    return logits.flatten(2, 3), target[:, 0].flatten(1, 2).long()


def kornia(name: str, **settings: object) -> Callable[[], Contender]:
    """Return the maker of a kornia loss."""

    def make() -> Contender:
        loss = getattr(import_module("kornia.losses"), name)(**settings)
        return lambda logits, target: loss(*flat(logits, target))

    return make


def smp(name: str, **settings: object) -> Callable[[], Contender]:
    """Return the maker of a loss of segmentation-models-pytorch."""

    def make() -> Contender:
        loss = getattr(_smp_losses(), name)(mode="multiclass", **settings)
        return lambda logits, target: loss(*flat(logits, target))

    return make


def _smp_losses() -> ModuleType:
    """Import the losses alone: the whole package also imports networks, and with them torchvision."""
    package = find_spec("segmentation_models_pytorch")
    if package is None or package.origin is None:
        raise ImportError("segmentation-models-pytorch is not installed")
    name, path = "smp_losses", Path(package.origin).parent / "losses" / "__init__.py"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


PEERS: dict[str, Callable[[], Contender]] = {
    "nnU-Net DC_and_topk_loss": nnunet_topk,
    "MONAI DiceLoss": monai("DiceLoss"),
    "MONAI DiceCELoss": monai("DiceCELoss"),
    "MONAI DiceFocalLoss": monai("DiceFocalLoss"),
    "MONAI TverskyLoss": monai("TverskyLoss", alpha=0.3, beta=0.7),
    "MONAI GeneralizedDiceLoss": monai("GeneralizedDiceLoss"),
    "MONAI SoftDiceclDiceLoss, 3 iterations": monai("SoftDiceclDiceLoss", iter_=3),
    "MONAI HausdorffDTLoss": monai("HausdorffDTLoss"),
    "MONAI AsymmetricUnifiedFocalLoss": monai_on_probabilities("AsymmetricUnifiedFocalLoss", num_classes=3),
    "kornia DiceLoss": kornia("DiceLoss", average="macro"),
    "kornia FocalLoss": kornia("FocalLoss", alpha=0.5, reduction="mean"),
    "kornia TverskyLoss": kornia("TverskyLoss", alpha=0.3, beta=0.7),
    "kornia LovaszSoftmaxLoss": kornia("LovaszSoftmaxLoss"),
    "smp DiceLoss": smp("DiceLoss"),
    "smp FocalLoss": smp("FocalLoss"),
    "smp TverskyLoss": smp("TverskyLoss", alpha=0.3, beta=0.7),
    "smp LovaszLoss": smp("LovaszLoss"),
}


def available() -> tuple[dict[str, Contender], dict[str, str]]:
    """Return the peers that can be made here, and why the others cannot."""
    running, absent = {}, {}
    for name, make in PEERS.items():
        try:
            running[name] = make()
        except (ImportError, RuntimeError, AttributeError) as error:
            absent[name] = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return running, absent
