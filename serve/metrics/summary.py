"""Many cases: means under every convention, shares, sizes, each with its interval and number of cases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .calibration_error import ReliabilityBins
from .conventions import CONVENTIONS, Metric, find_convention
from .intervals import Bootstrap, Estimate, share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .case import CaseResult, LabelResult

SIZE_EDGES = (0.1, 1.0, 10.0)  # millilitres


@dataclass(frozen=True)
class SizeBin:
    """Lesions of one size: ``low`` <= volume < ``high``.

    ``sensitivity``: found share of the reference lesions; ``false_share``: of the predicted lesions of this
    size, those that are false. The intervals resample cases; their ``n`` is the number of cases with such.
    """

    low: float
    high: float
    references: int
    predictions: int
    sensitivity: Estimate
    false_share: Estimate


@dataclass(frozen=True)
class LabelSummary:
    """One label over all cases.

    Attributes:
        label: its name.
        positives: number of cases whose reference holds it.
        negatives: number of those whose reference does not.
        metrics: by metric and convention: mean over the cases that count.
        measures: by name, what needs no convention.
        missed: cases with the label in the reference only.
        hallucinated: cases with the label in the prediction only.
        sizes: lesions by their size.
    """

    label: str
    positives: int
    negatives: int
    metrics: Mapping[Metric, Mapping[str, Estimate]]
    measures: Mapping[str, Estimate]
    missed: tuple[str, ...]
    hallucinated: tuple[str, ...]
    sizes: tuple[SizeBin, ...]


def summarise(
    cases: Sequence[CaseResult],
    *,
    conventions: Iterable[str] = tuple(CONVENTIONS),
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
    size_edges: Sequence[float] = SIZE_EDGES,
) -> tuple[LabelSummary, ...]:
    """Summarise each label over cases.

    Args:
        cases: at least one, all with the same labels.
        conventions: names of those under which means are taken.
        seed: of the bootstrap.
        resamples: how often it draws the cases.
        level: of all intervals.
        size_edges: ascending volumes that divide lesions by size, in the unit of ``LabelResult.voxel_size``.

    Raises:
        ValueError: without cases, for an unknown convention, for edges that do not ascend.
    """
    if not cases:
        raise ValueError("there are no cases; give at least one")
    names = [find_convention(name).name for name in conventions]
    edges = [0.0, *size_edges, math.inf]
    if any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"the sizes {tuple(size_edges)} do not ascend from above 0")
    bootstrap = Bootstrap(len(cases), resamples, level, seed)
    return tuple(_label(name, cases, bootstrap, names, edges) for name in cases[0].labels)


def _label(
    name: str,
    cases: Sequence[CaseResult],
    bootstrap: Bootstrap,
    conventions: Sequence[str],
    edges: Sequence[float],
) -> LabelSummary:
    results = [case.labels[name] for case in cases]
    positives = sum(result.present for result in results)
    of_case = list(zip((case.case for case in cases), results, strict=True))
    return LabelSummary(
        label=name,
        positives=positives,
        negatives=len(results) - positives,
        metrics={
            metric: {
                convention: bootstrap.mean(np.array([result.value(metric, convention) for result in results]))
                for convention in conventions
            }
            for metric in Metric
        },
        measures={**_shares(results, bootstrap), **_means(results, bootstrap), **_pooled(results, bootstrap)},
        missed=tuple(case for case, one in of_case if one.present and not one.counts.predicted),
        hallucinated=tuple(case for case, one in of_case if not one.present and one.counts.predicted),
        sizes=tuple(_size_bin(results, bootstrap, low, high) for low, high in pairwise(edges)),
    )


def _shares(results: Sequence[LabelResult], bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Shares of cases, with exact intervals."""
    free = [result for result in results if not result.present]
    bearing = [result for result in results if result.present]
    silent = sum(not result.counts.predicted for result in free)
    answered = sum(result.counts.predicted > 0 for result in bearing)
    return {
        "specificity": share(silent, len(free), level=bootstrap.level),
        "case_sensitivity": share(answered, len(bearing), level=bootstrap.level),
    }


def _means(results: Sequence[LabelResult], bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Means over cases; NaN marks cases that do not count."""

    def mean(values: Iterable[float]) -> Estimate:
        return bootstrap.mean(np.array(list(values), dtype=np.float64))

    return {
        "lesion_free_false_volume": mean(
            math.nan if one.present else one.false_positive_volume for one in results
        ),
        "lesion_free_false_lesions": mean(
            math.nan if one.present else len(one.lesions.prediction_voxels) for one in results
        ),
        "false_positive_volume": mean(one.false_positive_volume for one in results),
        "false_negative_volume": mean(
            one.false_negative_volume if one.present else math.nan for one in results
        ),
        "absolute_volume_difference": mean(one.absolute_volume_difference for one in results),
        "false_lesions": mean(one.lesions.fp for one in results),
    }


def _pooled(results: Sequence[LabelResult], bootstrap: Bootstrap) -> dict[str, Estimate]:
    """Figures of all lesions, all voxels or all pairs of cases together; the intervals resample cases."""
    tp, fp, fn = (
        np.array([getattr(one.lesions, name) for one in results], float) for name in ("tp", "fp", "fn")
    )
    scores = np.array([math.nan if one.score is None else one.score for one in results], float)
    present = np.array([one.present for one in results], bool)
    return {
        "pooled_lesion_sensitivity": bootstrap.ratio(tp, tp + fn),
        "pooled_lesion_precision": bootstrap.ratio(tp, tp + fp),
        "presence_auroc": bootstrap.auroc(scores, present),
        "expected_calibration_error": _calibration_error(results, bootstrap),
    }


def _calibration_error(results: Sequence[LabelResult], bootstrap: Bootstrap) -> Estimate:
    known = np.array([one.reliability is not None for one in results], bool)
    bins = [one.reliability for one in results if one.reliability is not None]
    if not bins:
        return Estimate.nothing()
    weights = bootstrap.weights[:, known]
    foreground, probability, voxels = (
        weights @ np.stack([getattr(one, name) for one in bins])
        for name in ("foreground", "probability", "voxels")
    )
    with np.errstate(invalid="ignore"):
        drawn = np.abs(foreground - probability).sum(axis=1) / voxels.sum(axis=1)
    return bootstrap.estimate(ReliabilityBins.pooled(bins).expected_calibration_error, drawn, len(bins))


def _size_bin(results: Sequence[LabelResult], bootstrap: Bootstrap, low: float, high: float) -> SizeBin:
    counts = np.array([_of_size(one, low, high) for one in results], dtype=np.float64)
    references, found, predictions, false = counts.T
    return SizeBin(
        low=low,
        high=high,
        references=int(references.sum()),
        predictions=int(predictions.sum()),
        sensitivity=bootstrap.ratio(found, references),
        false_share=bootstrap.ratio(false, predictions),
    )


def _of_size(result: LabelResult, low: float, high: float) -> tuple[int, int, int, int]:
    """Reference lesions of a size, found ones among them; predicted lesions of it, false ones among them."""
    lesions, size = result.lesions, result.voxel_size
    inside, predicted = (
        (low <= voxels * size) & (voxels * size < high)
        for voxels in (lesions.reference_voxels, lesions.prediction_voxels)
    )
    return (
        int(inside.sum()),
        int((inside & lesions.found).sum()),
        int(predicted.sum()),
        int((predicted & lesions.false).sum()),
    )
