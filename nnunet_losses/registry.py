"""The public way to the losses: by key. Nothing here imports PyTorch before a loss is created."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from .catalogue import CATALOGUE
from .spatial_catalogue import SPATIAL
from .spec import LossSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .loss import Loss
    from .spec import Activation

__all__ = ["LossSpec", "create_loss", "get_loss_spec", "list_losses"]

# Of the documentation: from single voxels over regions and distances to components and shapes.
ORDER = (
    *("ce", "weighted_ce", "topk", "focal", "dpce", "sensitivity_specificity"),
    *("dice", "iou", "lovasz", "tversky", "focal_tversky", "asymmetric"),
    *("generalized_dice", "penalty_gdice", "exp_log", "combo", "dice_ce", "dice_focal", "dice_topk"),
    *("boundary", "dice_boundary", "hausdorff_dt", "hausdorff_one_sided", "hausdorff_er", "dice_hausdorff"),
    *("generalized_surface", "ce_dice", "ce_to_dice_linear", "ce_to_dice_finetune"),
    *("dice_image", "dice_class", "dice_batch", "dice_all", "dice_image_eps", "marginal_dice", "leaf_dice"),
    *("blob_dice", "blob_dice_ce", "cc_dice_ce", "cat_mil", "cldice", "skeleton_recall"),
    *("unified_focal", "boundary_dou"),
)


def index(specs: Iterable[LossSpec]) -> dict[str, LossSpec]:
    """Map keys to entries.

    Raises:
        ValueError: if two entries share a key or a trainer name.
    """
    entries: dict[str, LossSpec] = {}
    trainers: dict[str, str] = {}
    for spec in specs:
        if spec.key in entries:
            raise ValueError(f"two losses have the key {spec.key!r}; a key is registered once")
        if spec.trainer in trainers:
            raise ValueError(
                f"{trainers[spec.trainer]!r} and {spec.key!r} share the trainer name {spec.trainer!r}"
            )
        entries[spec.key] = spec
        trainers[spec.trainer] = spec.key
    return entries


def in_order(entries: Mapping[str, LossSpec]) -> dict[str, LossSpec]:
    """Arrange entries as the documentation does.

    Raises:
        ValueError: if an entry has no place in ``ORDER``, or a place no entry.
    """
    if set(entries) != set(ORDER):
        raise ValueError(f"ORDER and the catalogue differ in {sorted(set(entries) ^ set(ORDER))}")
    return {key: entries[key] for key in ORDER}


_ENTRIES = in_order(index(CATALOGUE + SPATIAL))


def list_losses(pattern: str = "*") -> list[str]:
    """List the keys of all losses, in the order of the catalogue, that match a shell-style pattern.

    Example:
        >>> list_losses("dice_*ce")
        ['dice_ce']
    """
    return [key for key in _ENTRIES if fnmatchcase(key, pattern)]


def get_loss_spec(key: str) -> LossSpec:
    """Return the catalogue's entry of a loss.

    Raises:
        ValueError: for an unknown key; the message names the nearest known ones.

    Example:
        >>> get_loss_spec("dice_topk").parameters["k"]
        0.1
    """
    if key in _ENTRIES:
        return _ENTRIES[key]
    close = difflib.get_close_matches(str(key), _ENTRIES, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(repr(name) for name in close)}? " if close else ""
    raise ValueError(f"there is no loss {key!r}. {hint}list_losses(), or nnunet-losses list, names all.")


def create_loss(
    key: str, *, activation: Activation = "softmax", ignore_index: int | None = None, **params: Any
) -> Loss:
    """Create a loss by its key.

    The module takes raw logits and owns its activation: ``loss(logits, target, mask=None)`` returns a scalar.
    ``logits`` is (B, C, *S) with two or three spatial axes; ``target`` is (B, 1, *S) with class ids, or
    (B, C, *S) with 0-1 channels (one-hot, or regions under sigmoid); ``mask`` is (B, 1, *S), true where the
    voxel counts.

    Args:
        key: see ``list_losses``.
        activation: "softmax": exclusive classes, channel 0 is background; "sigmoid": overlapping regions.
        ignore_index: label of voxels that do not count, as if below a mask.
        **params: parameters of the loss; ``get_loss_spec(key).parameters`` names them with their defaults.

    Raises:
        ValueError: for an unknown key or an unacceptable value.
        TypeError: for a parameter that this loss does not have.
        NotImplementedError: if the loss is not defined for the activation.

    Example:
        >>> import torch
        >>> loss = create_loss("dice_ce", phi="BI")
        >>> logits = torch.zeros(2, 3, 8, 8, requires_grad=True)
        >>> value = loss(logits, torch.ones(2, 1, 8, 8, dtype=torch.int16))
        >>> value.backward()
        >>> round(value.item(), 4)  # Dice (0.5 + 1) / 2, cross-entropy log 3
        1.8486
    """
    spec = get_loss_spec(key)
    return spec.load()(activation=activation, ignore_index=ignore_index, **params)
