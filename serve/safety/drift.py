"""Has the stream of cases changed? A test martingale that may be looked at after every case.

Each case is ranked, ties at random, among the calibration cases *and all earlier served ones*. While the
stream is exchangeable with the calibration these p-values are independent and uniform, and a capital that
bets against that is a martingale from 1: by Ville's inequality it ever reaches 100 with a probability of at
most 1 %. Ranked against the fixed calibration cases alone no such bound holds.

Sources: Vovk et al., Testing exchangeability on-line, ICML 2003; Simple Jumper: Vovk et al., Retrain or not
retrain, https://proceedings.mlr.press/v152/vovk21b.html.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

ALARM_LEVEL = 100.0  # false alarms, for all time: at most one in so many streams
JUMP = 0.01  # share of the capital that is spread anew over the bets at each case
BETS = (-1.0, 0.0, 1.0)  # for small p-values (strange cases), none, for large ones (cases too much alike)


@dataclass
class Martingale:
    """Capital of the Simple Jumper.

    Attributes:
        capitals: one for each of ``BETS``; they sum to 1 at the start.
    """

    capitals: tuple[float, ...] = (1 / len(BETS),) * len(BETS)

    @property
    def capital(self) -> float:
        """Evidence against exchangeability: 1 at the start."""
        return sum(self.capitals)

    def bet(self, p: float) -> float:
        """Take a p-value in, and return the capital.

        Raises:
            ValueError: for a p-value outside of 0 to 1.

        Example:
            >>> martingale = Martingale()
            >>> martingale.bet(0.5)  # nothing is won or lost in the middle
            1.0
            >>> round(martingale.bet(0.0), 6)  # the bet on small ones wins what the one on large ones loses
            1.0
            >>> round(martingale.bet(0.0), 6) > 1  # now more is on the winning side
            True
        """
        if not 0 <= p <= 1:
            raise ValueError(f"the p-value is {p}; it lies between 0 and 1")
        spread = JUMP * self.capital / len(BETS)
        self.capitals = tuple(
            ((1 - JUMP) * capital + spread) * (1 + bet * (p - 0.5))
            for capital, bet in zip(self.capitals, BETS, strict=True)
        )
        return self.capital


@dataclass
class DriftMonitor:
    """Watches a stream of strangeness scores.

    The scores must be given by a fixed function of the case, the same for calibration cases and served ones.

    Args:
        calibration: scores of the calibration cases.
        seed: of the random ties.

    Attributes:
        ascending: all scores so far, calibration first taken in, ascending.
        martingale: the capital.
        highest: the highest capital so far; an alarm once raised stays.

    Example:
        >>> monitor = DriftMonitor(np.random.default_rng(1).normal(size=50), seed=0)
        >>> any(monitor.observe(score).alarm for score in np.random.default_rng(2).normal(size=500))
        False
        >>> any(monitor.observe(score).alarm for score in np.random.default_rng(3).normal(2, size=100))
        True
    """

    calibration: Iterable[float]
    seed: int
    martingale: Martingale = field(default_factory=Martingale)
    highest: float = 1.0
    served: int = 0

    def __post_init__(self) -> None:
        self.ascending = sorted(float(score) for score in self.calibration)
        if any(np.isnan(score) for score in self.ascending):
            raise ValueError("a calibration score is NaN, which has no rank")

    @property
    def alarm(self) -> bool:
        """Whether the capital has ever reached the alarm level."""
        return self.highest >= ALARM_LEVEL

    def observe(self, score: float) -> DriftMonitor:
        """Take one served case in, and return the monitor.

        Raises:
            ValueError: for NaN.
        """
        if np.isnan(score):
            raise ValueError("the score is NaN, which has no rank")
        self.highest = max(self.highest, self.martingale.bet(self._smoothed_p(score)))
        insort(self.ascending, float(score))
        self.served += 1
        return self

    def _smoothed_p(self, score: float) -> float:
        """Rank among all cases so far and itself; ties, itself among them, at random."""
        stranger = len(self.ascending) - bisect_right(self.ascending, score)
        tied = bisect_right(self.ascending, score) - bisect_left(self.ascending, score)
        return smoothed_p(stranger, tied, len(self.ascending), seed=self.seed, position=self.served)


def smoothed_p(stranger: int, tied: int, cases: int, *, seed: int, position: int) -> float:
    """Rank of a case among known ones and itself, ties at random, from 0 (the strangest) to 1.

    Args:
        stranger: known cases that are stranger.
        tied: known cases that are as strange.
        cases: known cases.
        seed: of the stream.
        position: of the case in it; what was drawn is drawn again after a restart.

    Example:
        >>> 0 <= smoothed_p(0, 0, 99, seed=0, position=0) <= 0.01
        True
    """
    random = np.random.default_rng([seed, position]).random()
    return float((stranger + random * (tied + 1)) / (cases + 1))
