"""An evaluation as nnU-Net's ``summary.json``, key by key, for tools that read that file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .case import LabelResult
    from .folders import Evaluation


def nnunet_summary(evaluation: Evaluation) -> dict[str, Any]:
    """Build what nnU-Net 2.8's ``compute_metrics_on_folder`` writes, with nnU-Net's own means.

    Its foreground mean is NaN as soon as one label is in no mask: that is nnU-Net's rule, not an error here.
    """
    keys = {label.name: label.key for label in evaluation.labels.labels}
    cases: list[dict[str, Any]] = [
        {
            "reference_file": str(evaluation.pairs[case.case].reference),
            "prediction_file": str(evaluation.pairs[case.case].prediction),
            "metrics": {keys[name]: _metrics(result) for name, result in case.labels.items()},
        }
        for case in evaluation.cases
    ]
    mean = {key: _means([case["metrics"][key] for case in cases]) for key in keys.values()}
    foreground = {name: float(np.mean([one[name] for one in mean.values()])) for name in _NAMES}
    return {"foreground_mean": foreground, "mean": mean, "metric_per_case": cases}


def nnunet_summary_text(evaluation: Evaluation) -> str:
    """Write it as nnU-Net does: sorted keys, four spaces, NaN by that name."""
    return json.dumps(nnunet_summary(evaluation), sort_keys=True, indent=4)


_NAMES = ("Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref")


def _metrics(result: LabelResult) -> dict[str, float]:
    counts = result.counts
    return {
        "Dice": counts.dice,
        "IoU": counts.iou,
        "FP": counts.fp,
        "TP": counts.tp,
        "FN": counts.fn,
        "TN": counts.tn,
        "n_pred": counts.predicted,
        "n_ref": counts.referenced,
    }


def _means(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """Take nnU-Net's mean over the cases: of those that are not NaN."""
    return {name: _nan_mean([one[name] for one in metrics]) for name in _NAMES}


def _nan_mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
