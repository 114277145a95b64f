"""An evaluation as a table for people, and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from .conventions import CONVENTIONS, Metric

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .case import CaseResult, LabelResult
    from .folders import Evaluation, Units
    from .intervals import Estimate
    from .summary import LabelSummary, SizeBin

REPORT_VERSION = 1

METRIC_NAMES: Mapping[Metric, str] = {
    Metric.DICE: "Dice",
    Metric.IOU: "IoU",
    Metric.NSD: "NSD at {tolerance:g} {distance}",
    Metric.HD95: "HD95 ({distance})",
    Metric.LESION_F1: "lesion-wise F1 (RQ)",
    Metric.LESION_SENSITIVITY: "lesion-wise sensitivity",
    Metric.LESION_PRECISION: "lesion-wise precision",
    Metric.PANOPTIC_QUALITY: "panoptic quality (PQ)",
    Metric.SEGMENTATION_QUALITY: "segmentation quality (SQ)",
}
MEASURE_NAMES: Mapping[str, str] = {
    "specificity": "specificity (lesion-free cases left empty)",
    "case_sensitivity": "case sensitivity (others not left empty)",
    "lesion_free_false_volume": "false volume per lesion-free case ({volume})",
    "lesion_free_false_lesions": "false lesions per lesion-free case",
    "false_positive_volume": "false-positive volume per case ({volume})",
    "false_negative_volume": "false-negative volume per case with lesion ({volume})",
    "absolute_volume_difference": "absolute volume difference ({volume})",
    "false_lesions": "false lesions per case",
    "pooled_lesion_sensitivity": "sensitivity, all lesions together",
    "pooled_lesion_precision": "precision, all lesions together",
    "presence_auroc": "presence AUROC",
    "expected_calibration_error": "expected calibration error",
}


@dataclass(frozen=True)
class Row:
    """One figure of the summary.

    ``conventions``: those that give it; none where there is no convention. ``undisputed``: all give it.
    """

    label: str
    measure: str
    conventions: tuple[str, ...]
    estimate: Estimate
    undisputed: bool = False


def rows(summary: LabelSummary) -> Iterator[Row]:
    """List the figures of a label; conventions that give the same figure share a row."""
    for metric, estimates in summary.metrics.items():
        groups: dict[str, list[str]] = {}
        for convention, estimate in estimates.items():
            groups.setdefault(repr(estimate), []).append(convention)
        for same in groups.values():
            yield Row(summary.label, metric.value, tuple(same), estimates[same[0]], len(groups) == 1)
    for name, estimate in summary.measures.items():
        yield Row(summary.label, name, (), estimate)


def table(evaluation: Evaluation, summaries: Sequence[LabelSummary]) -> Table:
    """Lay the figures out for people, with their intervals; what nobody measured is left out."""
    result = Table(title=f"{len(evaluation.cases)} case" + ("" if len(evaluation.cases) == 1 else "s"))
    for heading, justify in (("label", "left"), ("measure", "left"), ("empty masks as in", "left")):
        result.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]  # the literals are right
    result.add_column("value [interval]", justify="right", no_wrap=True)
    result.add_column("cases", justify="right")
    for summary in summaries:
        _add_label(result, summary, evaluation)
    return result


def _spoken_of(every: Sequence[Row]) -> Iterator[Row]:
    """Keep the conventions whose sources speak of a metric; where none of them does, all."""
    kept = [
        replace(row, conventions=tuple(name for name in row.conventions if _states(name, row.measure)))
        for row in every
    ]
    spoken = {row.measure for row in kept if row.conventions}
    for row, short in zip(every, kept, strict=True):
        if row.measure not in spoken:
            yield row
        elif short.conventions:
            yield short


def _states(convention: str, measure: str) -> bool:
    return CONVENTIONS[convention].rules[Metric(measure)].stated


def _add_label(result: Table, summary: LabelSummary, evaluation: Evaluation) -> None:
    kinds = f"{summary.positives} with, {summary.negatives} without"
    result.add_row(escape(summary.label), "cases", "", kinds, str(summary.positives + summary.negatives))
    for row in _spoken_of(list(rows(summary))):
        if row.estimate.n or row.conventions:
            result.add_row("", *_cells(row, evaluation))
    for one in summary.sizes:
        if one.references:
            words = f"sensitivity, lesions of {_range(one, evaluation.units)}"
            result.add_row("", words, "", f"{one.references} lesions: {_number(one.sensitivity)}",
                           str(one.sensitivity.n))  # fmt: skip
    for words, names in (("missed", summary.missed), ("lesion-free, not empty", summary.hallucinated)):
        if names:
            result.add_row("", f"{words}: {_few(names)}", "", "", str(len(names)))
    result.add_section()


def _cells(row: Row, evaluation: Evaluation) -> tuple[str, str, str, str]:
    name = METRIC_NAMES[Metric(row.measure)] if row.conventions else MEASURE_NAMES[row.measure]
    units = evaluation.units
    words = name.format(tolerance=evaluation.settings.tolerance, distance=units.distance, volume=units.volume)
    return (
        words,
        "all" if row.undisputed else ", ".join(row.conventions),
        _number(row.estimate),
        str(row.estimate.n),
    )


def _number(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "-"
    if math.isnan(estimate.low):
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]".replace("[", "\\[")


def _range(one: SizeBin, units: Units) -> str:
    if math.isinf(one.high):
        return f"{one.low:g} {units.volume} and more"
    return f"{one.low:g} to {one.high:g} {units.volume}"


def _few(names: Sequence[str]) -> str:
    return escape(", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""))


def case_rows(cases: Iterable[CaseResult]) -> Iterator[dict[str, Any]]:
    """List what was measured of each case and label, without any convention. None: 0 / 0, or unknown."""
    for case in cases:
        for name, result in case.labels.items():
            yield {"case": case.case, "label": name, **_case_values(result)}


def _case_values(result: LabelResult) -> dict[str, Any]:
    lesions = result.lesions
    reliability = result.reliability
    values: dict[str, Any] = {
        "emptiness": result.emptiness.value,
        **asdict(result.counts),
        **{metric.value: result.formula(metric) for metric in Metric},
        "lesion_tp": lesions.tp,
        "lesion_fp": lesions.fp,
        "lesion_fn": lesions.fn,
        "predicted_volume": result.predicted_volume,
        "reference_volume": result.reference_volume,
        "absolute_volume_difference": result.absolute_volume_difference,
        "false_positive_volume": result.false_positive_volume,
        "false_negative_volume": result.false_negative_volume,
        "score": result.score,
        "expected_calibration_error": reliability and reliability.expected_calibration_error,
    }
    return {name: plain(value) for name, value in values.items()}


def summary_rows(summaries: Iterable[LabelSummary]) -> Iterator[dict[str, Any]]:
    """List all figures of the summary, one convention each."""
    for summary in summaries:
        for row in rows(summary):
            for convention in row.conventions or ("",):
                estimate = {name: plain(value) for name, value in asdict(row.estimate).items()}
                stated = _states(convention, row.measure) if convention else None
                yield {
                    "label": row.label,
                    "measure": row.measure,
                    "convention": convention,
                    "stated_by_source": stated,
                    **estimate,
                }


def notes(evaluation: Evaluation) -> Iterator[str]:
    """Say what is no error, and may well be a mistake: labels that are nowhere, or on one side alone."""
    cases = evaluation.cases
    predicted: list[str] = []
    referenced: list[str] = []
    for label in evaluation.labels.labels:
        results = [case.labels[label.name] for case in cases]
        sides = (any(one.counts.predicted for one in results), any(one.present for one in results))
        if sides == (False, False):
            yield f"No mask holds {label.name!r}, which is {list(label.members)}."
        if sides[0] != sides[1]:
            (predicted if sides[0] else referenced).append(label.name)
        unscored = sum(one.score is None or math.isnan(one.score) for one in results)
        if 0 < unscored < len(cases):
            yield f"{unscored} of {len(cases)} cases have no score for {label.name!r}; AUROC leaves them out."
    if predicted and referenced:
        alone = f"predictions hold {', '.join(predicted)}, only references {', '.join(referenced)}"
        yield f"Only {alone}: do both write a label as the same number?"


def as_json(evaluation: Evaluation, summaries: Sequence[LabelSummary]) -> dict[str, Any]:
    """Give everything as strict JSON: None for NaN, the words "inf" and "-inf" for infinities."""
    content = {
        "report_version": REPORT_VERSION,
        "settings": {**asdict(evaluation.settings), "units": asdict(evaluation.units)},
        "labels": [asdict(label) for label in evaluation.labels.labels],
        "ignore": evaluation.labels.ignore,
        "summary": [asdict(summary) for summary in summaries],
        "cases": list(case_rows(evaluation.cases)),
        "notes": list(notes(evaluation)),
        "problems": [asdict(problem) for problem in evaluation.problems],
    }
    return dict(plain(content))


def as_csv(records: Iterable[Mapping[str, Any]]) -> str:
    """Write records of equal keys as a table, with a heading; None is an empty cell."""
    listed = list(records)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(listed[0]) if listed else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    return text.getvalue()


def plain(value: Any) -> Any:
    """Replace what JSON cannot write, at any depth.

    Example:
        >>> plain({"a": [math.nan, math.inf, 1.5]})
        {'a': [None, 'inf', 1.5]}
    """
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
