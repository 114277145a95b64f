"""What each single training reached: two of the same loss may differ more than two losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.metrics.conventions import Metric
from nnunet_losses.serve.metrics.intervals import Estimate, share

from .outcomes import CONVENTION
from .sets import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnunet_losses.serve.metrics.case import LabelResult

    from .outcomes import Comparison, Outcome, Run
    from .study import Cell


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        cell: loss, fold and seed.
        threshold: of presence, from the validation cases.
        dice: mean over the judged cases with the label; NaN without such.
        validation_dice: the same over the fold's validation cases.
        left_empty: share of the lesion-free cases left empty, with its exact interval.
        left_empty_calibrated: the same with the presence threshold.
    """

    cell: Cell
    threshold: float
    dice: float
    validation_dice: float
    left_empty: Estimate
    left_empty_calibrated: Estimate


def trainings(comparison: Comparison, outcome: Outcome) -> Iterator[Training]:
    """Judge each training of a loss by itself."""
    for run in outcome.runs:
        judged = [run.cases[key] for key in comparison.keys if key in run.cases]
        validation = [case for (role, _), case in run.cases.items() if role is Role.VALIDATION]
        yield Training(
            run.result.cell,
            run.threshold,
            _dice(judged),
            _dice(validation),
            _left_empty(run, judged, calibrated=False),
            _left_empty(run, judged, calibrated=True),
        )


def _dice(cases: list[LabelResult]) -> float:
    values = [case.value(Metric.DICE, CONVENTION) for case in cases if case.present]
    return float(np.mean(values)) if values else float("nan")


def _left_empty(run: Run, cases: list[LabelResult], *, calibrated: bool) -> Estimate:
    silent = [run.says_empty(case, calibrated=calibrated) for case in cases if not case.present]
    return share(sum(silent), len(silent))
