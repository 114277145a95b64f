"""The part of a calibration that says whether there is anything: what is stored of each label."""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import Literal

import numpy as np

from nnunet_losses.serve.schema import Frozen

from .presence import Thresholds


class PresenceGuarantee(StrEnum):
    """What the error rates of a presence decision rest on.

    ``conformal``: cases without the label, that the model has not seen, were among the calibration cases.
    ``approximate``: the same, but some of the served networks have seen them.
    ``surrogate``: there were too few of them. What the model marked wrongly in cases that bear the label
    stands in for them, which is an assumption.
    """

    CONFORMAL = "conformal"
    APPROXIMATE = "approximate"
    SURROGATE = "surrogate"


class ComponentScore(Frozen):
    """How a component's features become its score; larger where it is more likely real.

    ``logistic``: log-odds from standardised features, through log(1 + exp(x)), so that it is positive.
    ``max_margin``: the largest logit margin in place of the log-odds.
    """

    kind: Literal["logistic", "max_margin"] = "max_margin"
    features: tuple[str, ...] = ()
    centre: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    intercept: float = 0.0
    hits: int = 0  # components behind the fit that touch the reference
    false_positives: int = 0  # and those that do not


class LabelPresence(Frozen):
    """Thresholds of one label with the scores that they come from.

    A score is positive where the mask holds the label, and at most 0 where it does not. ``lower`` and
    ``upper`` are None where the number of cases allows no promise.
    """

    label: str
    guarantee: PresenceGuarantee
    score: ComponentScore
    lower: float | None
    upper: float | None
    lesion_free: tuple[float, ...]  # ascending scores of cases without the label, or of what stands in
    lesion_bearing: tuple[float, ...]  # ascending scores of cases that have it
    n_lesion_free: int  # cases without the label, before anything stood in

    def thresholds(self, *, false_alarms: float, misses: float) -> Thresholds:
        """As ``Thresholds``, which decide."""
        return Thresholds(
            lower=-inf if self.lower is None else self.lower,
            upper=inf if self.upper is None else self.upper,
            false_alarms=false_alarms,
            misses=misses,
            lesion_free=len(self.lesion_free),
            lesion_bearing=len(self.lesion_bearing),
        )

    def p_value(self, score: float) -> float:
        """Share of cases without the label, this one counted among them, that score at least as high."""
        free = np.array(self.lesion_free)
        return float((1 + np.count_nonzero(free >= score)) / (free.size + 1))


class PresenceSection(Frozen):
    """``calibration.json``: section ``presence``. Labels of which too little is known are not listed."""

    false_alarms: float = 0.05  # of cases without a label, called present
    misses: float = 0.05  # of cases with it, called empty
    labels: tuple[LabelPresence, ...] = ()

    def label(self, name: str) -> LabelPresence | None:
        """What is known of a label."""
        return next((label for label in self.labels if label.label == name), None)
