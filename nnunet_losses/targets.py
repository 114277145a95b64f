"""Reading and checking targets and masks: class ids of any dtype, one-hot channels, ignore label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def check_shapes(logits: Tensor, target: Tensor, mask: Tensor | None, activation: str) -> None:
    """Check that logits, target and mask belong together.

    Raises:
        ValueError: if they do not; the message says which shape is expected.
        TypeError: if logits are not floating point.
    """
    if not logits.is_floating_point():
        raise TypeError(f"logits are {logits.dtype}; expected raw network outputs in floating point")
    if logits.ndim not in (4, 5) or 0 in logits.shape:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}; expected (B, C, H, W) or (B, C, D, H, W), none 0"
        )
    if activation == "softmax" and logits.shape[1] < 2:
        raise ValueError(
            "softmax over one channel is always 1; use activation='sigmoid' for one region, or two channels"
        )
    _check_beside(
        "target", target, logits, (1, logits.shape[1]) if activation == "softmax" else logits.shape[1:2]
    )
    if mask is not None:
        _check_beside("mask", mask, logits, (1,))


def read_valid(
    target: Tensor, mask: Tensor | None, ignore_index: int | None, *, classes: int
) -> Tensor | None:
    """Combine mask and ignore label to (B, 1, *S) bool, true where the voxel counts; None for neither.

    ``classes`` is the number of classes that a target of one-hot channels has, 0 if its channels are regions.
    """
    valid = None if mask is None else mask.bool()
    if ignore_index is None:
        return valid
    if target.shape[1] == classes and 0 <= ignore_index < classes:
        counted = target[:, ignore_index : ignore_index + 1] == 0
    elif target.dtype == torch.bool and target.shape[1] > 1:
        return valid  # 0 and 1 are no labels here, and no other value fits into a bool
    else:
        counted = (_wide(target) != ignore_index).all(1, keepdim=True)
    return counted if valid is None else counted & valid


def read_labels(target: Tensor, valid: Tensor | None, classes: int, *, as_int64: bool = True) -> Tensor:
    """Return class ids (B, 1, *S), from ids or one-hot channels; below the mask they mean nothing.

    They are int64, as torch's indexing wants them, or else of any integer type that they come in.

    Raises:
        ValueError: if a valid voxel has no class among those of the logits (on the CPU only).
    """
    if target.shape[1] == classes:
        return _labels_of_one_hot(read_channels(target, valid), valid)
    is_integer = not target.is_floating_point() and target.dtype != torch.bool
    labels = target if is_integer and not as_int64 else target.long()
    if target.device.type == "cpu":
        _check_labels(target, labels, valid, classes)
    return labels


def read_channels(target: Tensor, valid: Tensor | None) -> Tensor:
    """Return channels (B, C, *S) as bool.

    Raises:
        ValueError: if a valid voxel holds anything but 0 and 1 (on the CPU only).
    """
    if target.dtype == torch.bool:
        return target
    channels = target != 0
    if target.device.type == "cpu" and not _everywhere(target == channels, valid):
        raise ValueError(
            f"the target has {target.shape[1]} channels with values other than 0 and 1; soft labels are not "
            "supported: threshold them, or give class ids as (B, 1, *S)"
        )
    return channels


def _wide(target: Tensor) -> Tensor:
    # Comparing in the target's own type would wrap around: -100 is 156 in uint8.
    return target if target.is_floating_point() else target.long()


def _labels_of_one_hot(channels: Tensor, valid: Tensor | None) -> Tensor:
    if channels.device.type == "cpu" and not _everywhere(channels.sum(1, keepdim=True) == 1, valid):
        raise ValueError(
            "the one-hot target has voxels with no or several channels set; under softmax exactly one is "
            "expected. For overlapping regions use activation='sigmoid'; leave voxels out by mask"
        )
    return channels.to(torch.uint8).argmax(1, keepdim=True)


def _check_beside(name: str, tensor: Tensor, logits: Tensor, channels: tuple[int, ...]) -> None:
    batch, _, *space = logits.shape
    expected = [(batch, number, *space) for number in dict.fromkeys(channels)]
    if tuple(tensor.shape) in expected:
        return
    hint = f"; add the channel axis: {name}[:, None]" if tensor.shape == (batch, *space) else ""
    shapes = " or ".join(map(str, expected))
    raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {shapes} beside logits "
                     f"{tuple(logits.shape)}{hint}")  # fmt: skip


def _check_labels(raw: Tensor, labels: Tensor, valid: Tensor | None, classes: int) -> None:
    if raw.is_floating_point() and not _everywhere(raw == labels, valid):
        raise ValueError(
            "the target holds class ids that are not whole numbers; soft labels are not supported"
        )
    counted = labels if valid is None else labels.masked_fill(~valid, 0)
    low, high = (int(bound) for bound in torch.aminmax(counted))
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(
            f"the target holds class {wrong}, but the logits have channels for 0 to {classes - 1} only; if "
            f"{wrong} is the ignore label, create the loss with ignore_index={wrong}"
        )


def _everywhere(condition: Tensor, valid: Tensor | None) -> bool:
    return bool((condition if valid is None else condition | ~valid).all())
