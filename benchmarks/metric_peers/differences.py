"""Where the recorded values of other libraries differ from ours, and why."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.metrics import Metric, Settings, evaluate_masks
from nnunet_losses.serve.metrics.conventions import find_convention

from .cases import CASES, METRICS, EdgeCase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnunet_losses.serve.metrics import LabelResult

RECORD = Path(__file__).parents[1] / "results" / "metric_peers.json"
LIBRARIES = {"monai": "MONAI", "panoptica": "panoptica"}
CONVENTIONS = {
    "monai": "monai_ignore_empty",
    "panoptica": "panoptica",
}  # that say what it does with empty masks
_CLOSE = 2e-6  # MONAI computes in float32, and adds 1e-6 to denominators

Place = tuple[str, str, str]  # library, case, metric


@dataclass(frozen=True)
class Reason:
    """Why a library gives other values.

    Attributes:
        library: of ``LIBRARIES``.
        words: what it does otherwise.
        metrics: that differ.
        cases: on which all of them do.
    """

    library: str
    words: str
    metrics: tuple[str, ...]
    cases: tuple[str, ...]

    def places(self) -> Iterator[Place]:
        """List everything that it explains."""
        yield from ((self.library, case, metric) for case in self.cases for metric in self.metrics)


_ONE_SLICE = ("volume of one slice", "slice filled, centre found")
_CORNERS = ("touching by a corner", "touching by a corner, volume")
REASONS = (
    Reason(
        "panoptica",
        "averages the shares of the two surfaces, whatever their sizes; we count all surface voxels together",
        ("nsd",),
        ("touching the border", "two merged", "one split", *_CORNERS),
    ),
    Reason(
        "panoptica",
        "takes one percentile of both directions pooled; we take the larger one of two",
        ("hd95",),
        ("anisotropic, half found", "several, one missed, one false", "two merged", "one split", *_CORNERS),
    ),
    Reason(
        "panoptica",
        "pairs greedily, the largest IoU first, which leaves the chain's ends alone; we maximise the sum",
        ("lesion_sensitivity", "lesion_f1", "pq"),
        ("a chain of four",),
    ),
    Reason(
        "panoptica",
        "joins pixels by their sides alone in two axes, but voxels also by corners in three; we join by "
        "corners in both unless told otherwise",
        ("lesion_sensitivity", "lesion_f1", "pq"),
        ("touching by a corner",),
    ),
    Reason(
        "panoptica",
        "counts all voxels of a single slice as surface, top and bottom being outside, and averages shares",
        ("nsd",),
        _ONE_SLICE,
    ),
    Reason(
        "panoptica",
        "counts all voxels of a single slice as surface, and pools both directions",
        ("hd95",),
        ("slice filled, centre found",),
    ),
    Reason(
        "monai",
        "counts all voxels of a single slice as surface, top and bottom being outside; we take the outline",
        ("nsd",),
        _ONE_SLICE,
    ),
    Reason(
        "monai",
        "does so for HD95, too",
        ("hd95",),
        ("slice filled, centre found",),
    ),
    Reason(
        "monai",
        "gives 0 where there is no lesion at all (0 / 1e-6), although it gives no Dice there",
        ("lesion_f1", "pq"),
        ("both empty",),
    ),
)


def record() -> dict[str, Any]:
    """Read what the libraries said."""
    found: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))
    return found


def ours(case: EdgeCase) -> LabelResult:
    """Measure a case with our metrics."""
    return evaluate_masks(
        case.prediction == 1,
        case.reference == 1,
        spacing=case.spacing,
        valid=case.valid,
        settings=Settings(tolerance=case.tolerance),
    )


def theirs(recorded: dict[str, Any], library: str, case: EdgeCase, metric: str) -> float | None:
    """Value of a library; None where it was not asked."""
    value = recorded[library]["cases"][case.name][metric]
    return None if value is None else float(value)


def comparable(result: LabelResult, library: str, metric: str) -> float:
    """Our value under the library's convention, where that says anything about the metric."""
    rule = find_convention(CONVENTIONS[library]).rules[Metric(metric)]
    return (
        result.value(Metric(metric), CONVENTIONS[library]) if rule.stated else result.formula(Metric(metric))
    )


def differences(recorded: dict[str, Any]) -> set[Place]:
    """Find every value that is not ours."""
    found = set()
    for case in CASES:
        result = ours(case)
        for library in LIBRARIES:
            for metric in METRICS:
                value = theirs(recorded, library, case, metric)
                if value is not None and not same(value, comparable(result, library, metric)):
                    found.add((library, case.name, metric))
    return found


def explained() -> dict[Place, int]:
    """Every value that has a reason, and the reason's number, from 1."""
    return {place: number for number, reason in enumerate(REASONS, 1) for place in reason.places()}


def same(first: float, second: float) -> bool:
    """Whether two values are equal as far as single precision goes; NaN is equal to NaN."""
    if math.isnan(first) or math.isnan(second):
        return math.isnan(first) and math.isnan(second)
    return math.isclose(first, second, rel_tol=_CLOSE, abs_tol=_CLOSE)
