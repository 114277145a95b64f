"""What a loss needs: beyond logits and labels, and of the labels themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nnunet_losses.registry import LossSpec

_UNMET: Mapping[str, str] = {
    "epsilon": "the voxel counts of the training patches",
    "labelled": "which labels are drawn in each case",
}


def unmet_needs(spec: LossSpec) -> list[str]:
    """Name what keeps a trainer of this loss from training; empty where it can train.

    Example:
        >>> from nnunet_losses import get_loss_spec
        >>> unmet_needs(get_loss_spec("blob_dice")), unmet_needs(get_loss_spec("leaf_dice"))
        ([], ['which labels are drawn in each case'])
    """
    return [words for need, words in _UNMET.items() if need in spec.needs]


def check_meaning(spec: LossSpec, *, regions: int) -> None:
    """Refuse labels for which a loss has no meaning.

    Args:
        spec: of the loss.
        regions: number of overlapping regions of the data; 0: its labels exclude each other.

    Raises:
        NotImplementedError: the loss is not defined for regions, or for so many.

    Example:
        >>> from nnunet_losses import get_loss_spec
        >>> check_meaning(get_loss_spec("cat_mil"), regions=1)
        >>> check_meaning(get_loss_spec("cat_mil"), regions=2)
        Traceback (most recent call last):
        NotImplementedError: the loss cat_mil is not defined for 2 regions, only for 1; choose another trainer
    """
    if not regions:
        return
    if "sigmoid" not in spec.activations:
        raise NotImplementedError(
            f"the loss {spec.key} is not defined for overlapping regions, only for labels that exclude each "
            "other; choose another trainer"
        )
    if spec.regions is not None and regions > spec.regions:
        raise NotImplementedError(
            f"the loss {spec.key} is not defined for {regions} regions, only for {spec.regions}; "
            "choose another trainer"
        )
