"""Whether a network file holds the checkpoint's weights, bit by bit.

Tiles show a change only where it is large: one weight of thirty million may be off by a tenth and move no
logit by more than the engines' rounding does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .checkpoint import unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nnunet_losses.serve.bundle import Bundle

    from .members import MemberFolder

_WRAPPER = "network."  # the exported module holds the network beside its pooled features
_SHOWN = 3


def changed_weights(bundle: Bundle, members: Sequence[MemberFolder]) -> list[str]:
    """Name every fold whose network file has another weight than its checkpoint.

    Args:
        bundle: what is verified.
        members: the model folders, in the order of the bundle's members.
    """
    found = []
    for member, part in zip(bundle.description.members, members, strict=True):
        for fold, checkpoint in zip(member.folds, part.model.checkpoints, strict=True):
            changed = list(_changed(bundle.file(fold.file), unwrapped(checkpoint.weights)))
            if changed:
                named = ", ".join(changed[:_SHOWN]) + (", ..." if len(changed) > _SHOWN else "")
                found.append(f"{fold.file} has other weights than its checkpoint: {named}")
    return found


def _changed(path: Path, weights: dict[str, Any]) -> Iterator[str]:
    """Names of the parameters that differ; constants of the graph have other names than parameters."""
    import onnx  # noqa: PLC0415
    from onnx import numpy_helper  # noqa: PLC0415

    known = 0
    for tensor in onnx.load(path).graph.initializer:
        name = tensor.name.removeprefix(_WRAPPER)
        if name not in weights:
            continue
        known += 1
        value = weights[name].detach().float().contiguous().numpy()
        if numpy_helper.to_array(tensor).tobytes() != value.tobytes():
            yield name
    if not known:
        yield "none of its parameters is there"
