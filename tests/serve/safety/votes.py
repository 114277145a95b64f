"""Votes from logits, without networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.pipeline.ensemble import Vote
from nnunet_losses.serve.pipeline.resample import plan_resize
from nnunet_losses.serve.pipeline.segment import Votes
from nnunet_losses.serve.pipeline.stage import Frame
from nnunet_losses.serve.safety.candidates import Candidate, CaseCandidates, LabelCandidates
from nnunet_losses.serve.schema import Resampling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WHOLE = (slice(None),) * 3


def votes(
    *logits: NDArray[Any],
    shape: tuple[int, ...] | None = None,
    box: tuple[slice, ...] | None = None,
    forward: tuple[int, int, int] = (0, 1, 2),
) -> Votes:
    """What members say: logits (heads, z, y, x) in the network's order; ``shape`` and ``box`` likewise."""
    whole = shape or logits[0].shape[1:]
    inside = box or tuple(slice(0, size) for size in whole)
    target = [side.stop - side.start for side in inside]
    spacings = ((1.0, 1.0, 1.0),) * 2
    said = {
        str(index): Vote(
            values, plan_resize(values.shape[1:], target, spacings, Resampling(order=1)), forward
        )
        for index, values in enumerate(logits)
    }
    z, y, x = inside
    return Votes(votes=said, frame=Frame(whole, (z, y, x), forward))


def candidate(margin: float, *, hit: bool | None = None, volume: float = 10.0, **changes: Any) -> Candidate:
    """A component; its margin matters unless told otherwise."""
    values = {
        "voxels": int(volume),
        "volume_mm3": volume,
        "max_margin": margin,
        "mean_margin": margin / 2,
        "confidence": 0.9,
        "surface_to_volume": 1.0,
        "place": (0.0, 0.0, 0.0),
        "hit": hit,
    }
    return Candidate(**{**values, **changes})


def case(
    name: str,
    *,
    hits: Sequence[float] = (),
    wrong: Sequence[float] = (),
    below: float = -1.0,
    bears: bool | None = None,
    dice: float | None = None,
) -> CaseCandidates:
    """A case of one label, by the margins of its right and wrong components."""
    components = [candidate(margin, hit=True) for margin in hits]
    components += [candidate(margin, hit=False) for margin in wrong]
    is_bearing = bool(hits) if bears is None else bears
    label = LabelCandidates(
        label="lesion",
        components=tuple(components),
        below=0.0 if components else below,
        bears=is_bearing,
        dice=dice,
    )
    return CaseCandidates(case=name, labels=(label,))


def blank_logits(heads: int, shape: tuple[int, ...], *, background: float = 2.0) -> NDArray[np.float16]:
    """Logits that say background everywhere."""
    logits = np.zeros((heads, *shape), np.float16)
    logits[0] = background
    return logits
