"""Is there anything? Two thresholds on a case's presence score, with error rates that finite samples allow.

A case's score M is the largest score of its candidate components, minus infinity where there is none.
Above the upper threshold a lesion is ``present``: of lesion-free cases at most a share ``false_alarms`` are.
Below the lower threshold the case is ``empty``: of lesion-bearing cases at most a share ``misses`` are.
Between them the answer is ``indeterminate``. Split conformal quantile above; conformal risk control below:
Angelopoulos et al., https://arxiv.org/abs/2208.02814. Three-way decisions of this shape: Angelopoulos et al.,
https://doi.org/10.1101/2024.02.09.24302543.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil, floor, inf, isfinite
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-9  # (n + 1) * alpha may miss a whole number by a rounding error


class Presence(StrEnum):
    """What is said of a label in a case."""

    PRESENT = "present"
    EMPTY = "empty"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True)
class Thresholds:
    """Where ``empty`` ends and where ``present`` begins.

    Attributes:
        lower: a score below it is ``empty``; minus infinity where that cannot be promised.
        upper: a score above it is ``present``; infinity where that cannot be promised.
        false_alarms: level of the upper threshold.
        misses: level of the lower one.
        lesion_free: number of calibration cases behind the upper threshold.
        lesion_bearing: and behind the lower one.
    """

    lower: float
    upper: float
    false_alarms: float
    misses: float
    lesion_free: int
    lesion_bearing: int

    def decide(self, score: float) -> Presence:
        """Decide by a case's score.

        Where the thresholds cross, so that both promises hold on a whole range, its middle divides.

        Raises:
            ValueError: for NaN.

        Example:
            >>> thresholds = Thresholds(1.0, 2.0, 0.05, 0.05, 40, 40)
            >>> [thresholds.decide(score).value for score in (0.5, 1.0, 2.0, 2.5)]
            ['empty', 'indeterminate', 'indeterminate', 'present']
        """
        if np.isnan(score):
            raise ValueError("the presence score is NaN, which lies on no side of a threshold")
        if self.upper < self.lower:
            return Presence.PRESENT if score > self.dividing else Presence.EMPTY
        if score > self.upper:
            return Presence.PRESENT
        return Presence.EMPTY if score < self.lower else Presence.INDETERMINATE

    @property
    def dividing(self) -> float:
        """The one threshold of a pair that crosses: at least ``upper``, and below ``lower``."""
        if not isfinite(self.upper) or not isfinite(self.lower):
            return self.upper
        middle = (self.upper + self.lower) / 2
        return middle if middle < self.lower else self.upper


def calibrate_thresholds(
    lesion_free: NDArray[np.float64],
    lesion_bearing: NDArray[np.float64],
    *,
    false_alarms: float = 0.05,
    misses: float = 0.05,
) -> Thresholds:
    """Choose both thresholds.

    Args:
        lesion_free: (n0,) scores of cases without a lesion, minus infinity where no candidate was found.
        lesion_bearing: (n1,) scores of cases with one; likewise.
        false_alarms: allowed share of lesion-free cases that are called ``present``.
        misses: allowed share of lesion-bearing cases that are called ``empty``.

    Raises:
        ValueError: for NaN, or a level outside of 0 to 1.

    Example:
        >>> free, bearing = np.arange(19.0), np.arange(10.0, 29.0)
        >>> thresholds = calibrate_thresholds(free, bearing)
        >>> thresholds.lower, thresholds.upper
        (10.0, 18.0)
    """
    for level in (false_alarms, misses):
        if not 0 < level < 1:
            raise ValueError(f"the level is {level}; it lies between 0 and 1")
    if np.isnan(lesion_free).any() or np.isnan(lesion_bearing).any():
        raise ValueError("a presence score is NaN; a case without any candidate has minus infinity")
    return Thresholds(
        lower=_lower(np.sort(lesion_bearing), misses),
        upper=_upper(np.sort(lesion_free), false_alarms),
        false_alarms=false_alarms,
        misses=misses,
        lesion_free=lesion_free.size,
        lesion_bearing=lesion_bearing.size,
    )


def _upper(ascending: NDArray[np.float64], level: float) -> float:
    """Of n + 1 exchangeable scores the last exceeds the k-th of the others at most n + 1 - k times."""
    rank = ceil((ascending.size + 1) * (1 - level) - ROUNDING)
    return float(ascending[rank - 1]) if rank <= ascending.size else inf


def _lower(ascending: NDArray[np.float64], level: float) -> float:
    """Largest threshold with so few cases below it that (missed + 1) / (n + 1) keeps the level."""
    allowed = floor((ascending.size + 1) * level - 1 + ROUNDING)
    if allowed < 0:
        return -inf
    return float(ascending[allowed]) if allowed < ascending.size else inf
