"""Fit the presence decision to cases that the model has not seen.

The promises rest on exchangeability: a threshold may be taken from cases only if the score treats them as it
treats a new one. The score is fitted to components of cases that bear the label, and never to a case without
it; so the upper threshold's cases, which bear nothing, are as new to the score as any patient. The lower
threshold comes from cases that bear the label, and so from other ones than the fit: from ``SPLIT_FROM`` cases
on, one half fits and the other half gives the threshold. With fewer nothing is fitted, the score is the
largest margin, and all cases give the threshold. Which of the two happens depends on the number of cases
alone, and which half a case falls into on its name alone.
"""

from __future__ import annotations

from hashlib import sha256
from math import isfinite, log
from typing import TYPE_CHECKING

import numpy as np

from .candidates import Candidate, positive
from .conformal import cases_for
from .logistic import Linear, fit_logistic
from .presence import calibrate_thresholds
from .presence_section import ComponentScore, LabelPresence, PresenceGuarantee, PresenceSection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .candidates import CaseCandidates, LabelCandidates

    Floats = NDArray[np.float64]
    Named = tuple[str, LabelCandidates]

FEATURES = ("log_volume", "max_margin", "mean_margin", "surface_to_volume")
SPLIT_FROM = 80  # cases that bear the label
LEAST_FALSE_POSITIVES = 30  # components, and as many right ones


def fit_presence(
    records: Sequence[CaseCandidates],
    *,
    false_alarms: float = 0.05,
    misses: float = 0.05,
    approximate: bool = False,
) -> PresenceSection:
    """Fit component score and thresholds of every label.

    Args:
        records: cases that the networks have not seen, with references; names are unique.
        false_alarms: allowed share of cases without a label that are answered ``present``.
        misses: allowed share of cases with it that are answered ``empty``.
        approximate: whether some of the served networks have seen the cases after all.

    Returns:
        A section without those labels for which no upper threshold can be promised.

    Raises:
        ValueError: for two cases of one name, or a case without a reference.
    """
    _check(records)
    names = dict.fromkeys(label.label for record in records for label in record.labels)
    fitted = (
        _fit_label(
            [(record.case, label) for record in records for label in record.labels if label.label == name],
            levels=(false_alarms, misses),
            approximate=approximate,
        )
        for name in names
    )
    known = tuple(label for label in fitted if label.upper is not None)
    return PresenceSection(false_alarms=false_alarms, misses=misses, labels=known)


def component_score(score: ComponentScore, candidate: Candidate) -> float:
    """Score of one component: positive."""
    if score.kind == "max_margin":
        return positive(candidate.max_margin)
    standard, weights = (np.array(score.centre), np.array(score.scale)), np.array(score.weights)
    linear = Linear(*standard, weights, score.intercept)
    return positive(float(linear(features([candidate]))[0]))


def case_score(score: ComponentScore, found: LabelCandidates) -> float:
    """Score of one label in a case: that of its best component; without any, how near it came to one."""
    scores = [component_score(score, candidate) for candidate in found.components]
    return max(scores, default=min(found.below, 0.0))


def features(found: Sequence[Candidate]) -> Floats:
    """``FEATURES`` of components: (components, features)."""
    rows = [(log(one.volume_mm3), one.max_margin, one.mean_margin, one.surface_to_volume) for one in found]
    return np.array(rows, np.float64).reshape(len(rows), len(FEATURES))


def _check(records: Sequence[CaseCandidates]) -> None:
    names = [record.case for record in records]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the case {twice!r} is there twice; a calibration takes every case once")
    for record in records:
        if any(label.bears is None for label in record.labels):
            raise ValueError(f"the case {record.case!r} has no reference; presence is calibrated against one")


def _fit_label(cases: Sequence[Named], *, levels: tuple[float, float], approximate: bool) -> LabelPresence:
    false_alarms, misses = levels
    fitting, bearing = _split([case for case in cases if case[1].bears])
    free = [case for case in cases if not case[1].bears]
    score = _fit_score(found for _, found in fitting)
    without = [case_score(score, found) for _, found in free]
    enough = len(without) >= cases_for(false_alarms)
    if not enough:
        without += [_without_hits(score, found) for _, found in bearing]
    with_it = sorted(case_score(score, found) for _, found in bearing)
    thresholds = calibrate_thresholds(
        np.array(without), np.array(with_it), false_alarms=false_alarms, misses=misses
    )
    return LabelPresence(
        label=cases[0][1].label,
        guarantee=_guarantee(enough=enough, approximate=approximate),
        score=score,
        lower=thresholds.lower if isfinite(thresholds.lower) else None,
        upper=thresholds.upper if isfinite(thresholds.upper) else None,
        lesion_free=tuple(sorted(without)),
        lesion_bearing=tuple(with_it),
        n_lesion_free=len(free),
    )


def _guarantee(*, enough: bool, approximate: bool) -> PresenceGuarantee:
    if not enough:
        return PresenceGuarantee.SURROGATE
    return PresenceGuarantee.APPROXIMATE if approximate else PresenceGuarantee.CONFORMAL


def _split(bearing: Sequence[Named]) -> tuple[list[Named], list[Named]]:
    """Cases for the score, and cases for the lower threshold."""
    if len(bearing) < SPLIT_FROM:
        return [], list(bearing)
    shuffled = sorted(bearing, key=lambda case: sha256(case[0].encode()).digest())
    half = len(shuffled) // 2
    return shuffled[:half], shuffled[half:]


def _fit_score(cases: Iterable[LabelCandidates]) -> ComponentScore:
    found = [candidate for case in cases for candidate in case.components if candidate.hit is not None]
    hits = sum(candidate.hit is True for candidate in found)
    false_positives = len(found) - hits
    if min(hits, false_positives) < LEAST_FALSE_POSITIVES:
        return ComponentScore(hits=hits, false_positives=false_positives)
    linear = fit_logistic(features(found), np.array([candidate.hit is True for candidate in found]))
    return ComponentScore(
        kind="logistic",
        features=FEATURES,
        centre=tuple(linear.centre.tolist()),
        scale=tuple(linear.scale.tolist()),
        weights=tuple(linear.weights.tolist()),
        intercept=linear.intercept,
        hits=hits,
        false_positives=false_positives,
    )


def _without_hits(score: ComponentScore, found: LabelCandidates) -> float:
    """Score that a case would have without what is right in it; 0 where nothing is left in the mask."""
    wrong = (component_score(score, candidate) for candidate in found.components if candidate.hit is False)
    return max(wrong, default=0.0)
