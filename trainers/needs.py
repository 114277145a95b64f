"""What a loss needs of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_losses.registry import LossSpec


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
