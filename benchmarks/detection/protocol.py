"""What is compared with what. Written down, and committed, before any score was computed on the suite.

**Cases.** Scores are fitted to a fold's training cases and ranked among its validation cases. Usual cases are
new ones that neither has seen; strange ones are new cases with one damage of the suite, whose chance is
seeded by the case's name. Design choices, ours and the baselines', are made on the fold's training cases
alone: the scores are fitted to one part of them, the other part stands for usual cases, and damaged ones of
that part for strange ones. For want of time that is done with the phantoms; what was chosen there is used for
the hippocampi as it is.

**Score.** Ours is the statistic behind the verdict, the largest robust z over pool and case
(``conformal.combined``); infinite where the contract refuses the image. Baselines have no contract: they get
every image that the pipeline can run at all, and are given what it cannot run as detected. So they are what
would make the network run on more than 64 tiles, by a wrong spacing; ours get the image's own scores there.

**Figures.** AUROC, and the false-positive rate at 95 % sensitivity (FPR95), strange being the positive class;
of each cell, which is one damage in one strength. A mean over the suite is a mean over cells.

**Left out of the mean, and listed apart,** by these rules:

1. ``contract``: cells of the suite's contract family. The contract must refuse all of them; the baselines
   have no answer to them.
2. ``in principle``: cells that the suite itself says may be impossible to see (``Corruption.undetectable``).
3. ``symmetric``: a silent swap of axes that maps the data set's own distribution onto itself. The phantoms'
   generator treats y and x alike, so that holds for their silent swap of y and x, and for no other.
4. ``same unit``: a change of unit into one that at least 5 % of the training cases have already
   (``USUAL_UNIT``), such as 0 to 255 in the hippocampus set.

**Far.** White noise, clouds and checkerboards of the suite, and, brought to each channel's own range, other
anatomy (phantoms for the hippocampus, hippocampi for the phantoms) and photographs. AUROC over all of them
together.

**Leaving one family out.** For each family of damages the design is chosen by its mean FPR95 on the other
families' damages of the training cases, and judged on that family's test cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nnunet_losses.serve.stress.suite import Corruption, Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SYMMETRIC = {"volume": frozenset({"swap_yx_silent"}), "hippocampus": frozenset[str]()}
FAR_OF_SUITE = ("white_noise", "clouds", "checkerboard")
USUAL_UNIT = 0.05  # share of training cases
UNITS = {
    "unit_bytes": (200.0, 255.0),
    "unit_range": (0.5, 1.0),
}  # where the largest value of such images lies

FIRST_FRESH_STRANGE = 1000  # index of the first phantom that is damaged; usual ones count from 0


@dataclass(frozen=True)
class Sizes:
    """How many cases there are of each kind; None takes all that there are.

    Attributes:
        usual: new cases.
        strange: new cases that are damaged in every way.
        tuning_fit: training cases that scores are fitted to when designs are chosen; the others are usual.
        tuning_strange: of those others, how many are damaged.
        far: other images of each source.
    """

    usual: int
    strange: int
    tuning_fit: int
    tuning_strange: int
    far: int = 25


SIZES = {
    "volume": Sizes(usual=200, strange=25, tuning_fit=70, tuning_strange=6),
    "hippocampus": Sizes(usual=25, strange=25, tuning_fit=80, tuning_strange=0),
}


class Cell(NamedTuple):
    """One damage in one strength."""

    corruption: str
    severity: int


def left_out(corruption: Corruption, data: str, maxima: Sequence[float]) -> str | None:
    """Return the rule by which a damage is listed apart; None where it counts.

    Args:
        corruption: the damage.
        data: name of the data set.
        maxima: largest value of each training image.
    """
    if corruption.family is Family.CONTRACT:
        return "contract"
    if corruption.undetectable is not None:
        return "in principle"
    if corruption.key in SYMMETRIC[data]:
        return "symmetric"
    if corruption.key in UNITS and _usual(np.array(maxima), UNITS[corruption.key]):
        return "same unit"
    return None


def _usual(maxima: NDArray[np.float64], span: tuple[float, float]) -> bool:
    low, high = span
    return bool(((maxima >= low) & (maxima <= high)).mean() >= USUAL_UNIT)
