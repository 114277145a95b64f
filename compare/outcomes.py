"""What the cells of a comparison say about each loss: the figures of the report, each in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.metrics.calibration_error import BINS
from nnunet_losses.serve.metrics.conventions import Emptiness, Metric, find_convention
from nnunet_losses.serve.metrics.intervals import Estimate, share
from nnunet_losses.serve.safety.presence import calibrate_thresholds

from .records import from_record
from .results import read_failure, read_result
from .sets import Role
from .statistics import Resamples, weighted_auroc
from .study import title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.metrics.case import LabelResult

    from .results import Result
    from .study import Cell, Study

MISSES = 0.05  # share of lesion-bearing cases that the presence threshold may call empty
CONVENTION = "nnunet"
WITH_EMPTIES = "study"  # a lesion-free case that is left empty counts 1
METRICS = (Metric.DICE, Metric.NSD, Metric.HD95, Metric.LESION_F1, Metric.LESION_SENSITIVITY,
           Metric.PANOPTIC_QUALITY)  # fmt: skip
SIZE_QUANTILES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Key = tuple[Role, str]  # a case is known by its set and name


@dataclass(frozen=True, eq=False)
class Run:
    """One training, judged on one label.

    Attributes:
        result: of the cell.
        cases: of every set with references, by role and name.
        threshold: presence scores below it are called empty; minus infinity where no promise is possible.
    """

    result: Result
    cases: Mapping[Key, LabelResult]

    @cached_property
    def threshold(self) -> float:
        """Calibrated on the fold's validation cases, which were not trained on."""
        scores = [
            one.score
            for (role, _), one in self.cases.items()
            if role is Role.VALIDATION and one.present and one.score is not None
        ]
        nobody = np.empty(0)
        return calibrate_thresholds(nobody, np.array(scores, np.float64), misses=MISSES).lower

    def says_empty(self, case: LabelResult, *, calibrated: bool) -> bool:
        """Whether it answers that nothing is there: by its mask, or also by the presence threshold."""
        if not case.counts.predicted:
            return True
        return calibrated and case.score is not None and case.score < self.threshold

    def value(self, case: LabelResult, metric: Metric, convention: str, *, calibrated: bool) -> float:
        """Value of a metric, of the mask as it is or after the presence decision."""
        if calibrated and self.says_empty(case, calibrated=True):
            rule = find_convention(convention).rules[metric]
            return rule.value(Emptiness.of(0, case.counts.referenced), math.nan)
        return case.value(metric, convention)


@dataclass(frozen=True, eq=False)
class Outcome:
    """One loss: its trainings and the cells that failed, with their reasons."""

    loss: str
    runs: tuple[Run, ...]
    failures: Mapping[Cell, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How the report calls it."""
        return title(self.loss)


@dataclass(frozen=True, eq=False)
class Comparison:
    """All losses on the same cases.

    Attributes:
        label: that is reported.
        labels: of the data set.
        outcomes: losses with at least one training.
        failed: losses without any.
        keys: cases that the losses are judged on, in order.
        slots: fold and seed of the trainings, in order; each loss has one for each, unless it failed.
        resamples: the same for every figure.
    """

    label: str
    labels: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    failed: tuple[Outcome, ...]
    keys: tuple[Key, ...]
    slots: tuple[tuple[int, int], ...]
    resamples: Resamples

    def values(
        self, outcome: Outcome, metric: Metric, convention: str = CONVENTION, *, calibrated: bool = False
    ) -> NDArray[np.float64]:
        """Values of a metric (runs, cases); NaN where a case does not count, or is not of the fold."""
        return self.table(
            outcome, lambda run, case: run.value(case, metric, convention, calibrated=calibrated)
        )

    def of_positives(self, outcome: Outcome, metric: Metric) -> NDArray[np.float64]:
        """Values of a metric (runs, cases) of the cases with the label; specificity judges the others."""
        return self.table(
            outcome, lambda _, case: case.value(metric, CONVENTION) if case.present else math.nan
        )

    def table(self, outcome: Outcome, value: Callable[[Run, LabelResult], float]) -> NDArray[np.float64]:
        """Values (runs, cases) of a function of a training and a case."""
        values: NDArray[np.float64] = self._arranged(outcome, value, math.nan)
        return values

    def _arranged(self, outcome: Outcome, value: Callable[[Run, LabelResult], Any], missing: Any) -> Any:
        """Array (runs, cases, ...), the same rows for every loss; ``missing`` where a training or case is."""
        by_slot = {(run.result.cell.fold, run.result.cell.seed): run for run in outcome.runs}
        rows = [by_slot.get(slot) for slot in self.slots]
        return np.array(
            [
                [value(run, run.cases[key]) if run and key in run.cases else missing for key in self.keys]
                for run in rows
            ],
            dtype=np.float64,
        )

    def references(self) -> Iterator[LabelResult]:
        """Each judged case once, for what its reference says."""
        for key in self.keys:
            yield next(run.cases[key] for one in self.outcomes for run in one.runs if key in run.cases)

    @property
    def positives(self) -> int:
        """Cases with the label."""
        return sum(case.present for case in self.references())

    @property
    def negatives(self) -> int:
        """Cases without it."""
        return len(self.keys) - self.positives

    @cached_property
    def figures(self) -> dict[str, dict[str, Estimate]]:
        """Every figure by loss and name, see ``FIGURES``."""
        return {outcome.loss: dict(self._figures(outcome)) for outcome in self.outcomes}

    def _figures(self, outcome: Outcome) -> Iterator[tuple[str, Estimate]]:
        mean = self.resamples.mean
        for metric in METRICS:
            yield metric.value, mean(self.of_positives(outcome, metric))
        yield "dice_nnunet", mean(self.values(outcome, Metric.DICE))
        yield "dice_all", mean(self.values(outcome, Metric.DICE, WITH_EMPTIES))
        yield "specificity", self.exact_share(outcome, present=False, calibrated=False)
        yield (
            "false_volume",
            mean(self.table(outcome, lambda _, case: _free(case, case.false_positive_volume))),
        )
        yield "false_lesions", mean(self.table(outcome, lambda _, case: _free(case, case.lesions.fp)))
        yield "case_sensitivity", self.exact_share(outcome, present=True, calibrated=False)
        yield "presence_auroc", self._presence_auroc(outcome)
        yield "calibration_error", self._calibration_error(outcome)
        yield "ood_auroc", self._ood_auroc(outcome)
        yield "specificity_calibrated", self.exact_share(outcome, present=False, calibrated=True)
        yield "case_sensitivity_calibrated", self.exact_share(outcome, present=True, calibrated=True)
        yield "dice_all_calibrated", mean(self.values(outcome, Metric.DICE, WITH_EMPTIES, calibrated=True))

    def exact_share(self, outcome: Outcome, *, present: bool, calibrated: bool) -> Estimate:
        """Specificity, or for ``present`` case sensitivity, mean over trainings, with an exact interval.

        The interval is of one training's number of cases: trainings answer about the same cases, so their
        answers must not be counted as independent. Where the mean number of right answers is not whole, it
        reaches from the lower end for the number below to the upper end for the number above.
        """
        right = [
            [
                run.says_empty(run.cases[key], calibrated=calibrated) != present
                for key in self.keys
                if key in run.cases and run.cases[key].present == present
            ]
            for run in outcome.runs
        ]
        cases = max((len(one) for one in right), default=0)
        if not cases:
            return Estimate.nothing()
        value = float(np.mean([np.mean(one) for one in right if one]))
        right_answers = round(value * cases, 6)  # 5.5, not 5.500000000000001
        below, above = (share(int(end(right_answers)), cases) for end in (math.floor, math.ceil))
        return Estimate(value, below.low, above.high, cases)

    def _presence_auroc(self, outcome: Outcome) -> Estimate:
        scores = self.table(outcome, lambda _, case: math.nan if case.score is None else case.score)
        present = self.table(outcome, lambda _, case: float(case.present))
        return self.resamples.statistic(np.stack([scores, present], axis=-1), weighted_auroc)

    def _calibration_error(self, outcome: Outcome) -> Estimate:
        bins = self._arranged(outcome, lambda _, case: _bins(case), np.zeros((3, BINS)))
        return self.resamples.statistic(bins, _expected_error)

    def _ood_auroc(self, outcome: Outcome) -> Estimate:
        per_run = [_strangeness(run) for run in outcome.runs]
        if not all(any(is_strange for is_strange, _ in one) for one in per_run):
            return Estimate.nothing()
        keys = list(dict.fromkeys(key for one in per_run for key in one))  # folds have cases of their own
        values = np.array([[(one.get(key, math.nan), float(key[0])) for key in keys] for one in per_run])
        return Resamples.draw(len(keys), len(values)).statistic(values, weighted_auroc)

    def size_edges(self) -> tuple[float, ...]:
        """Lesion sizes that divide the reference lesions in parts of about equal number."""
        sizes = [
            float(size) * case.voxel_size
            for case in self.references()
            for size in case.lesions.reference_voxels
        ]
        return tuple(map(float, np.unique(np.quantile(sizes, SIZE_QUANTILES)))) if sizes else ()

    def by_size(self, outcome: Outcome) -> list[tuple[float, float, Estimate]]:
        """Share of found lesions by size: from, to (excluded but for the last), share."""
        edges = self.size_edges()
        rows = []
        for place, (low, high) in enumerate(pairwise(edges)):
            last = place == len(edges) - 2
            rows.append((low, high, self._found(outcome, low, math.inf if last else high)))
        return rows

    def _found(self, outcome: Outcome, low: float, high: float) -> Estimate:
        counts = self._arranged(outcome, lambda _, case: _found_of_size(case, low, high), (0, 0))
        estimate = self.resamples.statistic(counts, _ratio)
        return Estimate(estimate.value, estimate.low, estimate.high, int(counts[:, :, 1].max(axis=0).sum()))


def collect(output: Path, study: Study, label: str | None = None) -> Comparison:
    """Read all cells of a comparison; a cell counts once, however often it was run.

    Args:
        output: its folder.
        study: its losses, folds and seeds.
        label: to report; None: the one that most cases do not have, the last of several.

    Raises:
        ValueError: there is no result yet, or no such label.
    """
    results: dict[Cell, Result] = {}
    failures: dict[Cell, str] = {}
    for cell in study.cells:
        result, failure = read_result(cell.folder(output)), read_failure(cell.folder(output))
        if result is not None:
            results[cell] = result
        elif failure is not None:
            failures[cell] = failure.reason
    if not results:
        reasons = "; ".join(sorted(set(failures.values()))) or "none has ended"
        raise ValueError(f"no cell of {output} has a result ({reasons})")
    read = {cell: _cases(result) for cell, result in results.items()}
    judged = [labels for cases in read.values() for labels in cases.values()]
    if not judged:
        raise ValueError(f"no cell of {output} was judged on a case with a reference; give --test")
    labels = tuple(judged[0])
    chosen = label or _least_present(labels, read.values())
    if chosen not in labels:
        raise ValueError(f"there is no label {chosen!r}; there are {', '.join(labels)}")
    outcomes = [_outcome(loss, results, failures, read, chosen) for loss in study.losses]
    keys = _judged_keys(read.values())
    slots = tuple(sorted({(cell.fold, cell.seed) for cell in results}))
    return Comparison(
        chosen,
        labels,
        tuple(outcome for outcome in outcomes if outcome.runs),
        tuple(outcome for outcome in outcomes if not outcome.runs),
        keys,
        slots,
        Resamples.draw(len(keys), len(slots)),
    )


_Read = dict[Key, "dict[str, LabelResult]"]


def _cases(result: Result) -> _Read:
    read: _Read = {}
    for images in result.sets:
        for record in images.cases:
            case = from_record(record)
            read[images.role, case.case] = dict(case.labels)
    return read


def _least_present(labels: Sequence[str], read: Iterable[_Read]) -> str:
    """The label that most cases do not have, of those that any has."""
    every = {key: case for cases in read for key, case in cases.items()}
    present = {label: sum(case[label].present for case in every.values()) for label in labels}
    return min(reversed(labels), key=lambda label: (not present[label], present[label]))


def _outcome(
    loss: str,
    results: Mapping[Cell, Result],
    failures: Mapping[Cell, str],
    read: Mapping[Cell, _Read],
    label: str,
) -> Outcome:
    runs = tuple(
        Run(result, {key: labels[label] for key, labels in read[cell].items()})
        for cell, result in results.items()
        if cell.loss == loss
    )
    return Outcome(loss, runs, {cell: reason for cell, reason in failures.items() if cell.loss == loss})


def _judged_keys(read: Iterable[_Read]) -> tuple[Key, ...]:
    """Test cases where there are any, else those of validation; and images with nothing to find."""
    every = {key for cases in read for key in cases}
    main = Role.TEST if any(role is Role.TEST for role, _ in every) else Role.VALIDATION
    return tuple(sorted(key for key in every if key[0] in (main, Role.NEGATIVES)))


def _strangeness(run: Run) -> dict[tuple[bool, str], float]:
    """By whether a case is of another kind, and its name."""
    strange = {one.role: one.strangeness for one in run.result.sets}
    known = strange.get(Role.TEST, strange.get(Role.VALIDATION, {}))
    found = {(False, name): value for name, value in known.items()}
    return found | {(True, name): value for name, value in strange.get(Role.OOD, {}).items()}


def _free(case: LabelResult, value: float) -> float:
    return math.nan if case.present else float(value)


def _bins(case: LabelResult) -> NDArray[np.float64]:
    """Voxels, probability, foreground of each bin (3, bins)."""
    if case.reliability is None:
        return np.zeros((3, BINS))
    return np.stack([case.reliability.voxels, case.reliability.probability, case.reliability.foreground])


def _expected_error(bins: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    voxels, probability, foreground = np.moveaxis(np.tensordot(weights, bins, axes=1), 1, 0)
    with np.errstate(invalid="ignore"):
        error: NDArray[np.float64] = np.abs(foreground - probability).sum(axis=1) / voxels.sum(axis=1)
    return error


def _found_of_size(case: LabelResult, low: float, high: float) -> tuple[int, int]:
    sizes = case.lesions.reference_voxels * case.voxel_size
    inside = (low <= sizes) & (sizes < high)
    return int((inside & case.lesions.found).sum()), int(inside.sum())


def _ratio(counts: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    found, total = (weights @ counts).T
    with np.errstate(invalid="ignore"):
        ratio: NDArray[np.float64] = found / total
    return ratio
