"""What was measured of one case and label, as it stands in a result file."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnunet_losses.serve.metrics.calibration_error import ReliabilityBins
from nnunet_losses.serve.metrics.case import CaseResult, LabelResult
from nnunet_losses.serve.metrics.lesions import Lesions
from nnunet_losses.serve.metrics.overlap import VoxelCounts
from nnunet_losses.serve.metrics.report import plain

_LESION_ARRAYS = {
    "reference_voxels": np.int64,
    "prediction_voxels": np.int64,
    "found": np.bool_,
    "false": np.bool_,
    "untouched_reference": np.bool_,
    "untouched_prediction": np.bool_,
    "matched_iou": np.float64,
}
_BIN_ARRAYS = {"voxels": np.int64, "probability": np.float64, "foreground": np.int64}


def as_record(case: CaseResult) -> dict[str, Any]:
    """Write a case as JSON can hold it; nothing is lost."""
    return {"case": case.case, "labels": {name: _label_record(one) for name, one in case.labels.items()}}


def from_record(record: dict[str, Any]) -> CaseResult:
    """Read what ``as_record`` wrote."""
    return CaseResult(record["case"], {name: _label(one) for name, one in record["labels"].items()})


def _label_record(result: LabelResult) -> dict[str, Any]:
    bins = result.reliability
    return {
        "counts": {name: int(getattr(result.counts, name)) for name in ("tp", "fp", "fn", "tn")},
        "nsd": plain(result.nsd),
        "hd95": plain(result.hd95),
        "voxel_size": result.voxel_size,
        "score": plain(result.score),
        "lesions": _lists(result.lesions, _LESION_ARRAYS),
        "reliability": None if bins is None else _lists(bins, _BIN_ARRAYS),
    }


def _label(record: dict[str, Any]) -> LabelResult:
    bins = record["reliability"]
    return LabelResult(
        counts=VoxelCounts(**record["counts"]),
        nsd=_number(record["nsd"]),
        hd95=_number(record["hd95"]),
        lesions=Lesions(**_arrays(record["lesions"], _LESION_ARRAYS)),
        voxel_size=record["voxel_size"],
        score=None if record["score"] is None else _number(record["score"]),
        reliability=None if bins is None else ReliabilityBins(**_arrays(bins, _BIN_ARRAYS)),
    )


def _lists(holder: Any, arrays: dict[str, Any]) -> dict[str, Any]:
    values = {name: getattr(holder, name) for name in arrays}
    return {name: None if value is None else value.tolist() for name, value in values.items()}


def _arrays(record: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if record[name] is None else np.array(record[name], dtype=dtype)
        for name, dtype in arrays.items()
    }


def _number(value: float | str | None) -> float:
    return float("nan") if value is None else float(value)
