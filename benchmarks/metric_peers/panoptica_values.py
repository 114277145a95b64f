"""What panoptica says about the cases, as JSON: ``python -m benchmarks.metric_peers.panoptica_values``.

In an environment of its own: panoptica 2.1.7 needs older versions of packages that we use, too.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from panoptica import (
    ConnectedComponentsInstanceApproximator,
    InputType,
    Metric,
    NaiveThresholdMatching,
    Panoptica_Evaluator,
)

from .cases import CASES, EdgeCase

_ANY_VOXEL = 1e-9  # smallest IoU of a pair
_COLUMNS = {"dice": "global_bin_dsc", "lesion_sensitivity": "rec", "lesion_f1": "rq", "pq": "pq"}


def main() -> None:
    values = {case.name: measured(case) for case in CASES}
    print(json.dumps({"version": version("panoptica"), "cases": values}))


def measured(case: EdgeCase) -> dict[str, float | str | None]:
    """With its own components and edge cases; distances from the functions behind its evaluator.

    The evaluator has no answer for HD95 and NSD where no lesion is found, nor have we then: None. NSD is
    None also where the tolerance is not its own.
    """
    prediction, reference = (mask.astype(np.uint8) for mask in case.masks())
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that masks are empty, that a tolerance may not fit
        groups = _evaluator().evaluate(prediction, reference, voxelspacing=case.spacing)
        told = next(iter(groups.values())).to_dict()
        values = {name: _plain(told.get(column)) for name, column in _COLUMNS.items()}
        both = prediction.any() and reference.any()
        for name, metric in (("nsd", Metric.NSD), ("hd95", Metric.HD95)):
            asked = both and (name == "hd95" or case.tolerance == min(case.spacing))
            distance = metric(reference, prediction, voxelspacing=case.spacing) if asked else None
            values[name] = None if distance is None else _plain(distance)
    return values


def _evaluator() -> Panoptica_Evaluator:
    return Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(matching_metric=Metric.IOU, matching_threshold=_ANY_VOXEL),
        instance_metrics=[Metric.DSC, Metric.IOU],
        global_metrics=[Metric.DSC],
    )


def _plain(value: Any) -> float | str:
    """JSON knows no NaN; where panoptica says None, the figure does not exist."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else str(number)


if __name__ == "__main__":
    main()
