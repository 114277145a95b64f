"""Candidates of each label: its connected components in the mask, and how sure the network is of them.

Components are those of the mask on the image's grid. Their margins are taken from the logits in the
network's space, at the voxels that fall into the component: nothing is resampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log1p, prod
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np

from nnunet_losses.serve.measure import FULL_CONNECTIVITY, label_voxels
from nnunet_losses.serve.schema import Frozen, Head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.pipeline.ensemble import Vote
    from nnunet_losses.serve.pipeline.segment import Votes
    from nnunet_losses.serve.schema import Label, ModelDescription

    Floats = NDArray[np.float64]
    Places = tuple[NDArray[np.intp], ...]

_VOXELS = 2**18  # of the network's space that are looked at at once, where a label has no component
_STEEPEST = 700.0  # exp() of more is no number
_EQUAL = 40.0  # log-odds x beyond which log(1 + exp(x)) is x, in double precision


class Candidate(Frozen):
    """One connected component.

    Margins are logits: of the label over the best other one, or of a region over 0. In a picture or a single
    slice, ``volume_mm3`` is an area, and the surface a circumference.
    """

    voxels: int
    volume_mm3: float
    max_margin: float
    mean_margin: float
    confidence: float  # mean over its voxels of 1 / (1 + exp(-margin)): the expected share of right ones
    surface_to_volume: float  # 1 / mm; faces towards anything that is not the component
    place: tuple[float, float, float]  # its centroid (z, y, x), in voxels of the image
    hit: bool | None = None  # whether it touches the reference; None without one


class LabelCandidates(Frozen):
    """What a prediction holds of one label; with a reference also what it should.

    ``below`` is the largest margin of the label anywhere, at most 0, where the mask has none of it: how far
    the label was from being marked.
    """

    label: str
    components: tuple[Candidate, ...] = ()
    below: float = 0.0
    bears: bool | None = None  # whether the reference has the label
    dice: float | None = None  # None without a reference, and where neither mask nor reference have it


class CaseCandidates(Frozen):
    """One case of a calibration: what ``fit_presence`` and ``fit_quality`` take."""

    case: str
    labels: tuple[LabelCandidates, ...]


@dataclass(frozen=True, eq=False)
class _Grid:
    """The cropped part of an image in the network's axis order, and the way from there to the image.

    Attributes:
        votes: of all members, their logits in this axis order.
        box: slices of the image, in this axis order.
        forward: the image's axes in this order.
        spacing: millimetres, in this order.
        plane: axes along which a component has an extent: of a single slice the two in its plane.
    """

    votes: Sequence[Vote]
    box: tuple[slice, ...]
    forward: tuple[int, ...]
    spacing: tuple[float, ...]
    plane: tuple[int, ...]

    def part(self, volume: NDArray[Any]) -> NDArray[Any]:
        """Cut a volume (z, y, x) of the image."""
        return volume.transpose(self.forward)[self.box]

    def place(self, centroid: Sequence[float]) -> tuple[float, float, float]:
        """Bring a place in the part to the image, (z, y, x)."""
        whole = [side.start + float(c) for side, c in zip(self.box, centroid, strict=True)]
        z, y, x = (round(whole[self.forward.index(axis)], 2) for axis in range(3))
        return z, y, x


def candidates(
    found: Votes,
    mask: NDArray[Any],
    description: ModelDescription,
    *,
    spacing: Sequence[float],
    reference: NDArray[Any] | None = None,
) -> tuple[LabelCandidates, ...]:
    """Find the candidates of every label, in the model's order.

    Args:
        found: what the members say, as ``Segmenter.vote`` returns it.
        mask: (z, y, x), made of it.
        description: of the model.
        spacing: of the image, millimetres (z, y, x).
        reference: labels (z, y, x) as nnU-Net was trained with, for a calibration.

    Raises:
        ValueError: for a reference of another shape.
    """
    assert found.frame is not None, "votes have a frame"
    if reference is not None and reference.shape != mask.shape:
        raise ValueError(f"the reference has shape {reference.shape}; expected the mask's, {mask.shape}")
    forward = found.frame.forward
    votes = [vote.on_host().turned(forward) for vote in found.votes.values()]
    turned = tuple(float(spacing[axis]) for axis in forward)
    extended = tuple(index for index, axis in enumerate(forward) if mask.shape[axis] > 1)
    grid = _Grid(votes, found.frame.box, forward, turned, extended or (1, 2))
    truths = [_truth(grid, reference, label, description) for label in description.labels]
    found_of = [
        _of_label(label, grid, mask, description.head, truth)
        for label, truth in zip(description.labels, truths, strict=True)
    ]
    absent = [label for label, row in zip(description.labels, found_of, strict=True) if not row.components]
    each = [_largest_margins(vote.logits, absent, description.head) for vote in votes]
    below = dict(zip((label.name for label in absent), np.mean(each, axis=0).tolist(), strict=True))
    return tuple(row.model_copy(update={"below": below.get(row.label, 0.0)}) for row in found_of)


def _of_label(
    label: Label, grid: _Grid, mask: NDArray[Any], head: Head, truth: _Truth | None
) -> LabelCandidates:
    inside = label_voxels(grid.part(mask), label.members)
    dice, bears = (None, None) if truth is None else (truth.dice(inside), truth.bears)
    if not inside.any():
        return LabelCandidates(label=label.name, bears=bears, dice=dice)
    box = _bounding_box(inside)
    # as bytes: of bool arrays, cc3d refuses masks of many single voxels
    parts = cc3d.connected_components(
        np.ascontiguousarray(inside[box]).view(np.uint8), connectivity=FULL_CONNECTIVITY
    )
    rows = _measured(parts, box, grid, label, head)
    hits = [None] * len(rows) if truth is None else truth.hits(parts, box)
    components = tuple(Candidate(**row, hit=hit) for row, hit in zip(rows, hits, strict=True))
    return LabelCandidates(label=label.name, components=components, bears=bears, dice=dice)


def _truth(
    grid: _Grid, reference: NDArray[Any] | None, label: Label, description: ModelDescription
) -> _Truth | None:
    return None if reference is None else _Truth(grid, reference, label, description.ignore_label)


class _Truth:
    """A reference's part that one label is about. Where the reference is to be ignored, nothing counts.

    Attributes:
        bears: whether the label occurs anywhere in the reference.
    """

    def __init__(self, grid: _Grid, reference: NDArray[Any], label: Label, ignore: int | None) -> None:
        whole = label_voxels(reference, label.members)
        self._voxels = int(np.count_nonzero(whole))
        self._inside = grid.part(whole)
        self._counts = None if ignore is None else grid.part(reference) != ignore
        self.bears = self._voxels > 0

    def dice(self, inside: NDArray[np.bool_]) -> float | None:
        marked = inside if self._counts is None else inside & self._counts
        total = int(np.count_nonzero(marked)) + self._voxels
        return None if total == 0 else float(2 * np.count_nonzero(marked & self._inside) / total)

    def hits(self, parts: NDArray[Any], box: tuple[slice, ...]) -> list[bool | None]:
        """For each component, whether it touches the reference; None where all of it is to be ignored."""
        count = int(parts.max()) + 1
        touched = np.bincount(parts[self._inside[box]], minlength=count) > 0
        if self._counts is None:
            return [bool(touch) for touch in touched[1:]]
        counted = np.bincount(parts[self._counts[box]], minlength=count) > 0
        pairs = zip(touched[1:], counted[1:], strict=True)
        return [bool(touch) if known else None for touch, known in pairs]


def _bounding_box(inside: NDArray[np.bool_]) -> tuple[slice, ...]:
    sides = []
    for axis in range(3):
        along = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
        sides.append(slice(int(along[0]), int(along[-1]) + 1))
    return tuple(sides)


def _measured(
    parts: NDArray[Any], box: tuple[slice, ...], grid: _Grid, label: Label, head: Head
) -> list[dict[str, Any]]:
    """Features of every component, in cc3d's order."""
    statistics = cc3d.statistics(parts)
    voxels = np.asarray(statistics["voxel_counts"][1:], np.float64)
    centroids = np.asarray(statistics["centroids"][1:]) + [side.start for side in box]
    volumes = voxels * prod(grid.spacing[axis] for axis in grid.plane)
    ratios = _surfaces(parts, grid)[1:] / volumes
    each = [_margins(vote, parts, box, label, head) for vote in grid.votes]
    largest, mean, confidence = np.mean(each, axis=0)
    return [
        {
            "voxels": int(voxels[index]),
            "volume_mm3": float(volumes[index]),
            "max_margin": float(largest[index]),
            "mean_margin": float(mean[index]),
            "confidence": float(confidence[index]),
            "surface_to_volume": float(ratios[index]),
            "place": grid.place(centroids[index]),
        }
        for index in range(len(voxels))
    ]


def _surfaces(parts: NDArray[Any], grid: _Grid) -> Floats:
    """Square millimetres of the faces of every component; millimetres in a single slice."""
    axes, count = grid.plane, int(parts.max()) + 1
    surface = np.zeros(count)
    inside = np.zeros([size + 2 for size in parts.shape], parts.dtype)  # nothing all around
    inside[1:-1, 1:-1, 1:-1] = parts
    for axis in axes:
        area = prod(grid.spacing[other] for other in axes if other != axis)
        turned = inside.swapaxes(0, axis)
        before, after = turned[:-1], turned[1:]
        changes = before != after
        for face in (before[changes], after[changes]):
            surface += area * np.bincount(face, minlength=count)
    return surface


def _margins(
    vote: Vote, parts: NDArray[Any], box: tuple[slice, ...], label: Label, head: Head
) -> tuple[Floats, Floats, Floats]:
    """Largest and mean margin, and mean confidence, of every component by one member's logits."""
    marks, places = _in_network(parts, box, vote)
    margins = _margins_at(vote.logits, places, label, head).astype(np.float64)
    count = int(parts.max())
    sizes = np.bincount(marks, minlength=count + 1)[1:]
    largest = np.full(count + 1, -np.inf)
    np.maximum.at(largest, marks, margins)
    shares = 1 / (1 + np.exp(-np.clip(margins, -_STEEPEST, _STEEPEST)))
    sums = [np.bincount(marks, values, minlength=count + 1)[1:] for values in (margins, shares)]
    return largest[1:], sums[0] / sizes, sums[1] / sizes


def _in_network(parts: NDArray[Any], box: tuple[slice, ...], vote: Vote) -> tuple[NDArray[Any], Places]:
    """Voxels of the network's space that lie in a component: its number, and their indices.

    A component that is too small to hold the middle of one is looked up at its own voxels' places.
    """
    shape, cropped = vote.logits.shape[1:], vote.resize.shape
    windows, rows = zip(*map(_covered, box, shape, cropped), strict=True)
    coarse = parts[np.ix_(*rows)]
    found = np.nonzero(coarse)
    places = tuple(where + window for where, window in zip(found, windows, strict=True))
    marks = coarse[found]
    counts = np.bincount(marks, minlength=int(parts.max()) + 1)
    missing = np.flatnonzero(counts[1:] == 0) + 1
    if missing.size == 0:
        return marks, places
    small = np.nonzero(np.isin(parts, missing))
    mapped = tuple(
        (where + side.start) * 2 * size // (2 * old)
        if size == old
        else _nearest(where + side.start, size, old)
        for where, side, size, old in zip(small, box, shape, cropped, strict=True)
    )
    together = tuple(np.concatenate(pair) for pair in zip(places, mapped, strict=True))
    return np.concatenate([marks, parts[small]]), together


def _covered(side: slice, size: int, old: int) -> tuple[int, NDArray[np.intp]]:
    """First of the network's samples whose middle lies in a part of an axis, and where in it each lies."""
    middles = _nearest(np.arange(size), old, size)
    inside = np.flatnonzero((middles >= side.start) & (middles < side.stop))
    return (int(inside[0]) if inside.size else 0), middles[inside] - side.start


def _nearest(index: NDArray[np.intp], size: int, old: int) -> NDArray[np.intp]:
    """Index on an axis of another size at the same place: exact integer arithmetic."""
    return (2 * index + 1) * size // (2 * old)


def _margins_at(logits: NDArray[Any], places: Places, label: Label, head: Head) -> NDArray[np.float32]:
    own: NDArray[np.float32] = logits[label.channel][places].astype(np.float32)
    if head is Head.SIGMOID:
        return own
    other = np.full_like(own, -np.inf)
    for channel in range(len(logits)):
        if channel != label.channel:
            np.maximum(other, logits[channel][places].astype(np.float32), out=other)
    return own - other


def _largest_margins(logits: NDArray[Any], labels: Sequence[Label], head: Head) -> Floats:
    """Largest margin of each label anywhere, at most 0: under softmax it cannot win by more than nothing."""
    step = max(1, _VOXELS // prod(logits.shape[2:]))
    largest = np.full(len(labels), -np.inf)
    for start in range(0, logits.shape[1] if labels else 0, step):
        part = logits[:, start : start + step].astype(np.float32)
        best = np.float32(0) if head is Head.SIGMOID else part.max(axis=0)
        for index, label in enumerate(labels):
            largest[index] = max(largest[index], float((part[label.channel] - best).max()))
    return np.asarray(np.minimum(largest, 0), np.float64)


def positive(log_odds: float) -> float:
    """Positive number that grows with log-odds: log(1 + exp(x)).

    Example:
        >>> round(positive(0.0), 3), positive(50.0), positive(-800.0) > 0
        (0.693, 50.0, True)
    """
    if log_odds > _EQUAL:
        return log_odds
    return log1p(exp(max(log_odds, -_STEEPEST)))
