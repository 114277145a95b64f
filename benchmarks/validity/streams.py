"""False alarms of the drift monitor in streams that do not drift, and what ranking wrongly would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.safety.drift import ALARM_LEVEL, DriftMonitor, Martingale

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STREAMS, LENGTH = 200, 5000
CALIBRATION = (20, 50, 100, 400)  # cases, by turns
# The bound holds whatever the distribution is: an easy one, heavy tails, ties, infinite scores.
DISTRIBUTIONS: tuple[Callable[[Generator, int], Floats], ...] = (
    lambda random, count: random.normal(size=count),
    lambda random, count: random.standard_t(1, size=count),
    lambda random, count: random.integers(0, 4, count).astype(float),
    lambda random, count: np.where(random.random(count) < 0.1, np.inf, random.exponential(size=count)),
)


@dataclass(frozen=True)
class Alarms:
    """How many streams raised an alarm.

    Attributes:
        ranked_online: as the service does.
        ranked_fixed: every case among the calibration cases alone, for which nothing is promised.
    """

    streams: int
    length: int
    ranked_online: int
    ranked_fixed: int

    def told(self) -> dict[str, Any]:
        """For JSON."""
        bound = self.streams / ALARM_LEVEL
        return {**vars(self), "allowed": bound, "holds": self.ranked_online <= bound}


def made_up_streams() -> Alarms:
    """Streams of scores whose distribution never changes."""
    scores = []
    for stream in range(STREAMS):
        random = np.random.default_rng([20261122, stream])
        n = CALIBRATION[stream % len(CALIBRATION)]
        draw = DISTRIBUTIONS[stream // len(CALIBRATION) % len(DISTRIBUTIONS)]
        scores.append((draw(random, n), draw(random, LENGTH)))
    return count_alarms(scores)


def phantom_streams(statistics: Floats, *, calibration: int = 100) -> Alarms:
    """Disjoint streams of new phantoms, each with calibration cases of its own."""
    step = calibration + LENGTH
    parts = [statistics[first : first + step] for first in range(0, len(statistics) - step + 1, step)]
    return count_alarms([(part[:calibration], part[calibration:]) for part in parts])


def count_alarms(streams: Sequence[tuple[Floats, Floats]]) -> Alarms:
    """Watch streams: of each, scores of calibration cases and of served ones."""
    online = sum(_alarms(*stream, seed) for seed, stream in enumerate(streams))
    fixed = sum(_fixed_alarms(*stream, seed) for seed, stream in enumerate(streams))
    return Alarms(len(streams), LENGTH, online, fixed)


def _alarms(calibration: Floats, served: Floats, seed: int) -> bool:
    monitor = DriftMonitor(calibration.tolist(), seed=seed)
    return any(monitor.observe(float(score)).alarm for score in served)


def _fixed_alarms(calibration: Floats, served: Floats, seed: int) -> bool:
    ascending, martingale = np.sort(calibration), Martingale()
    above = len(ascending) - np.searchsorted(ascending, served, side="right")
    tied = len(ascending) - above - np.searchsorted(ascending, served, side="left")
    ties = np.random.default_rng([seed, 1]).random(len(served)) * (1 + tied)
    return any(martingale.bet(float(p)) >= ALARM_LEVEL for p in (above + ties) / (len(ascending) + 1))
