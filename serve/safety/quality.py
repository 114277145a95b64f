"""How good a mask may be expected to be: a Dice coefficient with an interval from the calibration cases.

The interval is split conformal: where a case is exchangeable with the calibration cases in which something
was marked, it holds the true Dice with a probability of at least ``coverage``, whatever the regression is
worth.
Vovk et al., https://doi.org/10.1007/b106715.
"""

from __future__ import annotations

from hashlib import sha256
from math import floor, log, log1p
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.answer import Quality

from .logistic import Linear, fit_ridge
from .presence_section import PresenceGuarantee
from .quality_section import QualitySection
from .removal import NOT_THE_LARGEST
from .uncertainty import described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.statement import Statement

    from .candidates import CaseCandidates, LabelCandidates
    from .uncertainty import Maps

    Floats = NDArray[np.float64]

SURROGATE = PresenceGuarantee.SURROGATE.value
SELECTED = (
    "Nothing is expected of masks from which an empty label was removed; among the others, which were chosen "
    "by that, the interval may hold a little more or less often."
)
FEATURES = ("confidence", "log_volume", "log_components")
SPLIT_FROM = 40  # cases; with fewer, nothing is fitted
_ROUNDING = 1e-9


def fit_quality(records: Sequence[CaseCandidates], *, coverage: float = 0.9) -> QualitySection | None:
    """Fit the expectation, and its interval.

    From ``SPLIT_FROM`` cases on, one half fits a ridge regression and the other half gives the interval;
    which half a case falls into depends on its name alone. With fewer, the median is expected of every mask.

    Args:
        records: cases that the networks have not seen, with references. Those in which nothing was marked
            are left out, as no such mask is ever given an expectation.
        coverage: share of cases whose Dice the interval holds.

    Returns:
        None where there are no cases.

    Raises:
        ValueError: for a coverage outside of 0 to 1.
    """
    if not 0 < coverage < 1:
        raise ValueError(f"the coverage is {coverage}; it lies between 0 and 1")
    cases = [(record.case, mask_features(record.labels), _dice(record)) for record in records]
    known = [(case, row, dice) for case, row, dice in cases if row is not None and dice is not None]
    if not known:
        return None
    known.sort(key=lambda case: sha256(case[0].encode()).digest())
    rows = np.array([row for _, row, _ in known])
    values = np.array([dice for _, _, dice in known])
    if len(known) < SPLIT_FROM:
        middle = float(np.median(values))
        lower, upper = residual_limits(values - middle, coverage)
        return QualitySection(
            kind="constant", coverage=coverage, intercept=middle, lower=lower, upper=upper, n=len(known)
        )
    half = len(known) // 2
    linear = fit_ridge(rows[:half], values[:half])
    lower, upper = residual_limits(values[half:] - linear(rows[half:]), coverage)
    return QualitySection(
        kind="linear",
        coverage=coverage,
        features=FEATURES,
        centre=tuple(linear.centre.tolist()),
        scale=tuple(linear.scale.tolist()),
        weights=tuple(linear.weights.tolist()),
        intercept=linear.intercept,
        lower=lower,
        upper=upper,
        n=len(known) - half,
        n_fit=half,
    )


def residual_limits(residuals: Floats, coverage: float) -> tuple[float, float] | tuple[None, None]:
    """Limits between which a further residual lies with at least this probability.

    Of n + 1 exchangeable residuals the last is among the k smallest, or the k largest, with a probability of
    at most 2 k / (n + 1).

    Example:
        >>> residual_limits(np.arange(19.0), 0.9), residual_limits(np.arange(18.0), 0.9)
        ((0.0, 18.0), (None, None))
    """
    k = floor((residuals.size + 1) * (1 - coverage) / 2 + _ROUNDING)
    if k < 1:
        return None, None
    ascending = np.sort(residuals)
    return float(ascending[k - 1]), float(ascending[-k])


def mask_features(labels: Sequence[LabelCandidates]) -> tuple[float, ...] | None:
    """``FEATURES`` of a mask: means over the labels that it holds; None where it holds none."""
    rows = []
    for label in labels:
        if label.components:
            voxels = sum(one.voxels for one in label.components)
            confidence = sum(one.voxels * one.confidence for one in label.components) / voxels
            volume = sum(one.volume_mm3 for one in label.components)
            rows.append((confidence, log(volume), log1p(len(label.components))))
    return tuple(float(value) for value in np.mean(rows, axis=0)) if rows else None


def expected(section: QualitySection, labels: Sequence[LabelCandidates]) -> Quality:
    """Expected Dice of a mask, without maps; nothing where the mask is empty."""
    row = mask_features(labels)
    if row is None:
        return Quality()
    middle = section.intercept
    if section.kind == "linear":
        linear = Linear(*_arrays(section), section.intercept)
        middle = float(linear(np.array([row]))[0])
    interval = None
    if section.lower is not None and section.upper is not None:
        interval = (_share(middle + section.lower), _share(middle + section.upper))
    return Quality(expected_dice=_share(middle), interval=interval, coverage=section.coverage, n=section.n)


def quality_of(
    section: QualitySection | None, labels: Sequence[LabelCandidates], stated: Statement, maps: Maps
) -> Quality:
    """What an answer says of the quality. Nothing is expected of a mask that was changed or withheld.

    nnU-Net's own postprocessing is no change: the calibration's masks went through it, too.
    """
    changed = any(row["reason"] != NOT_THE_LARGEST for row in stated.policy.removed_components)
    untouched = stated.mask is not None and not changed and bool(stated.mask.any())
    quality = expected(section, labels) if section is not None and untouched else Quality()
    if quality.interval is not None and _may_remove(stated):
        quality = quality.model_copy(update={"remark": SELECTED})
    if stated.mask is None or not maps:
        return quality
    return quality.model_copy(update={"uncertainty": described(maps, stated.mask)})


def _may_remove(stated: Statement) -> bool:
    """Whether decisions of this calibration can take a label out of a mask; see ``Decision.removes``."""
    presences = [label.presence for label in stated.labels if label.presence is not None]
    return any(one.lower is not None and one.guarantee != SURROGATE for one in presences)


def with_files(quality: Quality, files: Mapping[str, str]) -> Quality:
    """Name the files of the maps, by measure."""
    maps = tuple(one.model_copy(update={"file": files.get(one.measure)}) for one in quality.uncertainty)
    first = next((one.file for one in maps), None)
    return quality.model_copy(update={"uncertainty": maps, "uncertainty_map": first})


def _arrays(section: QualitySection) -> tuple[Floats, Floats, Floats]:
    return np.array(section.centre), np.array(section.scale), np.array(section.weights)


def _dice(record: CaseCandidates) -> float | None:
    """Mean Dice of the labels that mask or reference have."""
    values = [label.dice for label in record.labels if label.dice is not None]
    return float(np.mean(values)) if values else None


def _share(value: float) -> float:
    return round(min(max(value, 0.0), 1.0), 6)
