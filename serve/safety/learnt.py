"""What the known cases look like, in numbers that a person can read.

Ranges learnt from few cases are no limits: of new cases of the same kind, one in ten lies outside the
smallest and largest of 20. They explain a verdict; only scores, ranked against unseen cases, make one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

import numpy as np

from nnunet_losses.serve.schema import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .scores.observation import Observation

TAILS = (0.005, 0.995)  # of a channel's intensities: what lies beyond may be a single bright voxel
BYTES, HOUNSFIELD_AIR, SIXTEEN_BITS = 255, -900, 4096


class Range(Frozen):
    """Smallest, median and largest value among the known cases."""

    smallest: float
    median: float
    largest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Range of the values that there are; None where there is none.

        Example:
            >>> Range.of([1.0, 5.0, 2.0, float("nan")])
            Range(smallest=1.0, median=2.0, largest=5.0)
        """
        present = np.array([value for value in values if np.isfinite(value)])
        if present.size == 0:
            return None
        smallest, median, largest = (float(f(present)) for f in (np.min, np.median, np.max))
        return cls(smallest=smallest, median=median, largest=largest)

    def holds(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.smallest <= value <= self.largest


class LearntChannel(Frozen):
    """Intensities of one channel.

    Attributes:
        name: the model's name for it.
        low, high: 0.5th and 99.5th percentile of the voxels.
        nonzero: share of voxels that are not zero.
        units: how many known cases look as if they were in which unit, see ``guess_unit``.
    """

    name: str
    low: Range
    high: Range
    nonzero: Range
    units: dict[str, int]


class LearntLabel(Frozen):
    """What the model says of one label. Volumes in cubic (square) millimetres."""

    name: str
    volume: Range
    components: Range


class LearntContract(Frozen):
    """What the known cases look like.

    Attributes:
        cases: how many there are.
        orientations: how many have which orientation code.
        spacing, extent: (z, y, x) millimetres.
        obliqueness: degrees.
        channels: in the model's order.
        correlations: of every two channels, in the order of ``itertools.combinations``; None where unknown.
        labels: in the model's order; empty where no mask was known.
    """

    cases: int
    orientations: dict[str, int]
    spacing: tuple[Range, Range, Range]
    extent: tuple[Range, Range, Range]
    obliqueness: Range
    channels: tuple[LearntChannel, ...]
    correlations: tuple[Range | None, ...] = ()
    labels: tuple[LearntLabel, ...] = ()

    @classmethod
    def of(
        cls, observations: Sequence[Observation], *, channels: Sequence[str] = (), labels: Sequence[str] = ()
    ) -> Self:
        """Learn from known cases.

        Args:
            observations: of the cases.
            channels: their names; numbers where there are none.
            labels: likewise.

        Raises:
            ValueError: for no cases, or such as differ in their number of channels or labels.
        """
        if not observations:
            raise ValueError("there are no cases to learn from; give at least one observation")
        grids = [case.grid for case in observations]
        return cls(
            cases=len(observations),
            orientations=dict(sorted(Counter(grid.orientation for grid in grids).items())),
            spacing=_axes([grid.spacing for grid in grids]),
            extent=_axes([grid.extent for grid in grids]),
            obliqueness=_range(grid.obliqueness for grid in grids),
            channels=_channels(observations, channels),
            correlations=_correlations(observations),
            labels=_labels(observations, labels),
        )


def guess_unit(values: NDArray[np.float64]) -> str:
    """Guess an intensity unit from a channel's order statistics (ascending).

    Example:
        >>> guess_unit(np.array([0.0, 0.4, 1.0])), guess_unit(np.array([-1024.0, 40.0, 1500.0]))
        ('from 0 to 1', 'Hounsfield units')
        >>> guess_unit(np.array([0.0, 3.0, 255.0])), guess_unit(np.array([0.0, 0.5, 9000.0]))
        ('8 bits', '16 bits')
        >>> guess_unit(np.array([-3.0, 0.0, 4.5])), guess_unit(np.array([0.0, 700.0, 2000.0]))
        ('standardised', 'arbitrary')
    """
    low, high = float(values[0]), float(values[-1])
    if low >= 0 and high <= 1:
        return "from 0 to 1"
    if low <= HOUNSFIELD_AIR:
        return "Hounsfield units"
    if low >= 0 and high <= BYTES and bool((values == np.rint(values)).all()):
        return "8 bits"
    if low < 0 and max(-low, high) <= 50:
        return "standardised"
    return "16 bits" if low >= 0 and high > SIXTEEN_BITS else "arbitrary"


def tails(values: NDArray[np.float64]) -> tuple[float, float]:
    """0.5th and 99.5th percentile of order statistics (ascending)."""
    low, high = (float(values[round(share * (len(values) - 1))]) for share in TAILS)
    return low, high


def _range(values: Iterable[float]) -> Range:
    found = Range.of(values)
    assert found is not None, "every observation has these"
    return found


def _axes(rows: Sequence[Sequence[float]]) -> tuple[Range, Range, Range]:
    z, y, x = (_range(axis) for axis in zip(*rows, strict=True))
    return z, y, x


def _same(what: str, counts: Iterable[int]) -> int:
    found = sorted(set(counts))
    if len(found) != 1:
        raise ValueError(f"the cases have {found} {what}; expected as many in each")
    return found[0]


def _named(names: Sequence[str], count: int, kind: str) -> list[str]:
    """Names, or numbers in their place."""
    return list(names) if len(names) == count else [f"{kind} {index}" for index in range(count)]


def _channels(observations: Sequence[Observation], names: Sequence[str]) -> tuple[LearntChannel, ...]:
    count = _same("channels", (len(case.raw) for case in observations))
    return tuple(
        _channel(
            name, [case.raw[i] for case in observations], [float(case.nonzero[i]) for case in observations]
        )
        for i, name in enumerate(_named(names, count, "channel"))
    )


def _channel(name: str, raw: Sequence[NDArray[np.float64]], nonzero: Sequence[float]) -> LearntChannel:
    low, high = zip(*map(tails, raw), strict=True)
    units = dict(sorted(Counter(map(guess_unit, raw)).items()))
    return LearntChannel(name=name, low=_range(low), high=_range(high), nonzero=_range(nonzero), units=units)


def _correlations(observations: Sequence[Observation]) -> tuple[Range | None, ...]:
    rows, columns = np.triu_indices(len(observations[0].correlations), 1)
    pairs = np.stack([case.correlations[rows, columns] for case in observations])
    return tuple(Range.of(values) for values in pairs.T)


def _labels(observations: Sequence[Observation], names: Sequence[str]) -> tuple[LearntLabel, ...]:
    found = [case.found for case in observations if case.found is not None]
    if not found:
        return ()
    count = _same("labels", (len(case.volumes) for case in found))
    return tuple(
        LearntLabel(
            name=name,
            volume=_range(float(case.volumes[i]) for case in found),
            components=_range(float(case.components[i]) for case in found),
        )
        for i, name in enumerate(_named(names, count, "label"))
    )
