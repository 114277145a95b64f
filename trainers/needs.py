"""What a loss needs beyond logits and labels, and what the trainers cannot give it yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nnunet_losses.registry import LossSpec

_UNMET: Mapping[str, str] = {
    "epsilon": "the voxel counts of the training patches",
    "geometry": "maps of every augmented patch, from the data loader",
    "labelled": "which labels are drawn in each case",
}


def unmet_needs(spec: LossSpec) -> list[str]:
    """Name what keeps a trainer of this loss from training; empty where it can train.

    Example:
        >>> from nnunet_losses import get_loss_spec
        >>> unmet_needs(get_loss_spec("dice_ce")), unmet_needs(get_loss_spec("blob_dice"))
        ([], ['maps of every augmented patch, from the data loader'])
    """
    return [words for need, words in _UNMET.items() if need in spec.needs]
