"""What MONAI says about the cases, as JSON: ``python -m benchmarks.metric_peers.monai_values``."""

from __future__ import annotations

import json
import math
import warnings

import monai
import numpy as np
import torch
from monai.metrics import (
    compute_dice,
    compute_hausdorff_distance,
    compute_panoptic_quality,
    compute_surface_dice,
)
from scipy import ndimage

from .cases import CASES, EdgeCase

_ANY_VOXEL = 1e-9  # smallest IoU of a pair


def main() -> None:
    values = {case.name: {name: _plain(value) for name, value in measured(case).items()} for case in CASES}
    print(json.dumps({"version": monai.__version__, "cases": values}))


def measured(case: EdgeCase) -> dict[str, float]:
    """Its defaults; instances are numbered by SciPy, corners joined, since MONAI finds none."""
    both = [_one_hot(mask) for mask in case.masks()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a mask is empty, that it calls itself by an old name
        nsd = compute_surface_dice(*both, [case.tolerance], spacing=case.spacing)
        hd95 = compute_hausdorff_distance(*both, percentile=95, spacing=case.spacing)
    tp, _, missed, _ = _instances(case, _ANY_VOXEL)
    return {
        "dice": float(compute_dice(*both, include_background=False)),
        "nsd": float(nsd),
        "hd95": float(hd95),
        "lesion_sensitivity": tp / (tp + missed) if tp + missed else math.nan,
        "lesion_f1": _quality(case, "rq"),
        "pq": _quality(case, "pq"),
        "dice_keep_empty": float(compute_dice(*both, include_background=False, ignore_empty=False)),
    }


def _one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32))


def _numbered(case: EdgeCase) -> list[torch.Tensor]:
    return [torch.from_numpy(ndimage.label(mask, np.ones((3,) * mask.ndim))[0]) for mask in case.masks()]


def _instances(case: EdgeCase, threshold: float) -> list[float]:
    """True positives, false positives, false negatives, sum of IoU."""
    found = compute_panoptic_quality(
        *_numbered(case), match_iou_threshold=threshold, output_confusion_matrix=True
    )
    return [float(one) for one in found]


def _quality(case: EdgeCase, name: str) -> float:
    return float(compute_panoptic_quality(*_numbered(case), name, match_iou_threshold=_ANY_VOXEL))


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


if __name__ == "__main__":
    main()
