"""Several configurations, one mask: the mean of their probabilities on the image's grid.

nnU-Net writes every configuration's probabilities of the whole image to files and averages these. Here the
members' logits are resampled, turned into probabilities and averaged a few slices at a time: what is held
are the logits in the networks' spaces, and never the probabilities of a whole image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.schema import Head

from .half import largest_magnitude, round_to_half
from .labels import mask_dtype
from .resample import Resize
from .slabs import slabs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import ModelDescription

    from .slabs import Slab

_HALF_PRECISION = 2.0**-10  # distance of two neighbouring float16 numbers, as a share of the larger one


@dataclass(frozen=True, eq=False)
class Vote:
    """What one member says.

    Attributes:
        logits: (heads, z, y, x) in the network's space and axis order.
        resize: way to the cropped image's grid.
        forward: the image's axes in the network's order.
    """

    logits: Any  # of NumPy; of CuPy where the network runs on a GPU
    resize: Resize
    forward: tuple[int, int, int]

    def on_host(self) -> Vote:
        """Give the same in the host's memory."""
        if isinstance(self.logits, np.ndarray):
            return self
        return Vote(self.logits.get(), self.resize, self.forward)  # of CuPy

    def turned(self, forward: tuple[int, int, int]) -> Vote:
        """Give the same with another order of axes."""
        order = [self.forward.index(axis) for axis in forward]
        if order == [0, 1, 2]:
            return self
        clipped, last = self.resize.clipped_axes, self.resize.last
        z, y, x = (self.resize.maps[axis] for axis in order)
        resize = Resize(
            (z, y, x),
            None if clipped is None else tuple(sorted(order.index(axis) for axis in clipped)),
            None if last is None else order.index(last),
        )
        return Vote(self.logits.transpose(0, *(axis + 1 for axis in order)), resize, forward)


def average_mask(votes: Sequence[Vote], description: ModelDescription) -> NDArray[Any]:
    """Decide by the mean probability: mask (z, y, x) on the cropped grid, in the first vote's axis order.

    Interpolating in float32 may round a logit to another float16 than nnU-Net does. Where this could turn the
    decision, the logits are computed again in nnU-Net's own order of operations.

    Args:
        votes: of all members that are averaged.
        description: says whether heads are labels or overlapping regions.
    """
    mask = np.zeros(votes[0].resize.shape, mask_dtype(description))
    for slab in _joint_slabs(votes):
        mean = slab.mean(description.head)
        part = mask[slab.rows]
        _decide(part, mean, description)
        places = np.nonzero(_doubtful(mean, slab.uncertainty, description.head))
        if slab.uncertainty and len(places[0]):
            exact = np.zeros(len(places[0]), mask.dtype)
            _decide(exact, slab.mean_at(places, description.head), description)
            part[places] = exact
    return mask


def _decide(mask: NDArray[Any], mean: NDArray[np.float32], description: ModelDescription) -> None:
    """Write the labels for mean probabilities (heads, ...) into a mask of zeros."""
    if description.head is Head.SOFTMAX:
        mask[...] = mean.argmax(axis=0)
        return
    for label in sorted(description.labels, key=lambda label: label.channel):
        np.copyto(mask, mask.dtype.type(label.value), where=mean[label.channel] > 0.5)


def _doubtful(mean: NDArray[np.float32], uncertainty: float, head: Head) -> NDArray[np.bool_]:
    """Where logits that are off by the uncertainty could decide otherwise."""
    if head is Head.SIGMOID:  # the slope of the logistic function is at most 1/4
        return np.asarray((np.abs(mean - 0.5) <= uncertainty / 4).any(axis=0))
    second, best = np.partition(mean, -2, axis=0)[-2:]
    return np.asarray(best - second <= 2 * uncertainty * (best + second))


def decision_margins(votes: Sequence[Vote], description: ModelDescription) -> NDArray[np.float32]:
    """Distance of each voxel from another decision, in logits, on the grid of ``average_mask``.

    Under softmax the two best logits' distance, where an average of probabilities has the logits log p; under
    regions the smallest distance of a region's logit from 0.
    """
    margins = np.zeros(votes[0].resize.shape, np.float32)
    for slab in _joint_slabs(votes):
        margins[slab.rows] = probability_margins(slab.mean(description.head), description.head)
    return margins


def probability_margins(probabilities: NDArray[np.float32], head: Head) -> NDArray[np.float32]:
    """Distance from another decision in logits, of probabilities (heads, ...).

    Example:
        >>> two = np.array([[0.5, 0.9], [0.5, 0.1]])
        >>> probability_margins(two, Head.SOFTMAX).astype(float).round(1).tolist()
        [0.0, 2.2]
        >>> probability_margins(two, Head.SIGMOID).astype(float).round(1).tolist()
        [0.0, 2.2]
    """
    with np.errstate(divide="ignore"):
        if head is Head.SOFTMAX:
            second, best = np.log(np.partition(probabilities, -2, axis=0)[-2:])
            return np.asarray(best - second, np.float32)
        odds = np.log(probabilities) - np.log1p(-probabilities)
    return np.asarray(np.abs(odds).min(axis=0), np.float32)


def probability_slabs(votes: Sequence[Vote], head: Head) -> Iterator[tuple[slice, list[NDArray[np.float32]]]]:
    """Each member's probabilities (heads, rows, y, x), a few slices of ``average_mask``'s grid at a time."""
    for slab in _joint_slabs(votes):
        yield slab.rows, slab.each(head)


class _JointSlab:
    """The same slices of all votes.

    Attributes:
        rows: these slices.
        uncertainty: by how much a logit may be off in ``mean``; 0 where all are exact.
    """

    def __init__(self, parts: tuple[Slab, ...], uncertainty: float) -> None:
        self._parts = parts
        self.rows = parts[0].rows
        self.uncertainty = uncertainty

    def mean(self, head: Head) -> NDArray[np.float32]:
        """Mean probabilities (heads, rows, y, x)."""
        return self._mean((_rounded(part) for part in self._parts), head)

    def each(self, head: Head) -> list[NDArray[np.float32]]:
        """Every member's probabilities (heads, rows, y, x)."""
        return [to_probabilities(_rounded(part), head) for part in self._parts]

    def mean_at(self, places: tuple[NDArray[np.intp], ...], head: Head) -> NDArray[np.float32]:
        """Mean probabilities (heads, voxels) of single voxels (z, y, x) of this slab, from exact logits."""
        exact = (
            part.at(slice(None), places).astype(np.float32)
            if part.has_points
            else np.stack([part.rounded(index)[places] for index in range(part.heads)])
            for part in self._parts
        )
        return self._mean(exact, head)

    def _mean(self, logits: Iterable[NDArray[np.float32]], head: Head) -> NDArray[np.float32]:
        first, *others = (to_probabilities(values, head) for values in logits)
        for other in others:
            first += other
        first /= np.float32(len(self._parts))
        return first


def _joint_slabs(votes: Sequence[Vote]) -> Iterator[_JointSlab]:
    turned = [vote.turned(votes[0].forward) for vote in votes]
    largest = max(float(largest_magnitude(vote.logits)) for vote in turned)
    for parts in zip(*(slabs(vote.logits, vote.resize) for vote in turned), strict=True):
        is_exact = not any(part.has_points for part in parts)
        yield _JointSlab(
            parts, 0.0 if is_exact else largest * _HALF_PRECISION + max(part.error for part in parts)
        )


def _rounded(part: Slab) -> NDArray[np.float32]:
    """Logits (heads, rows, y, x), rounded to float16 where nnU-Net does; in float32 where that is faster."""
    if not part.has_points:
        return np.stack([part.rounded(index) for index in range(part.heads)])
    single = np.stack([part.single(index) for index in range(part.heads)])
    round_to_half(single, np.empty_like(single))
    return single


def to_probabilities(values: NDArray[np.float32], head: Head) -> NDArray[np.float32]:
    """Turn logits (heads, ...) into probabilities, in place."""
    if head is Head.SIGMOID:
        with np.errstate(over="ignore"):  # of exp: the probability is 0
            np.exp(np.negative(values, out=values), out=values)
        values += 1
        return np.reciprocal(values, out=values)
    values -= values.max(axis=0)
    np.exp(values, out=values)
    values /= values.sum(axis=0)
    return values
