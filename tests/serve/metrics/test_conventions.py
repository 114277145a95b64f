"""Every convention against hand-written values, and against those of the tools that they are named for."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from nnunet_losses.serve.metrics import CONVENTIONS, Matching, Metric, Settings, evaluate_masks

from ...conftest import ROOT
from .masks import BRIDGE, CORNER, EMPTY, FAR, FAR_PART, SECOND, SHIFTED, SPECK, boxes

LESION = boxes(CORNER)
CASES = {"both": (EMPTY, EMPTY), "reference": (LESION, EMPTY), "prediction": (EMPTY, LESION)}

# Written by hand from the sources' words: convention -> metric -> value where (both, only the reference, only
# the prediction) are empty.
BY_HAND = {
    "nnunet": {"dice": (nan, 0, 0), "iou": (nan, 0, 0), "hd95": (nan, nan, nan), "lesion_f1": (nan, 0, 0)},
    "study": {"dice": (1, 0, 0), "iou": (1, 0, 0), "nsd": (1, 0, 0), "pq": (1, 0, 0)},
    "panoptica": {
        "dice": (nan, 0, 0),
        "iou": (nan, 0, 0),
        "hd95": (nan, inf, inf),
        "lesion_f1": (nan, 0, 0),
        "lesion_sensitivity": (nan, nan, 0),
        "lesion_precision": (nan, 0, nan),
        "pq": (nan, 0, 0),
        "sq": (nan, 0, 0),
    },
    "isles22": {"dice": (1, 0, 0), "lesion_f1": (1, 0, 0)},
    "brats": {"dice": (1, 0, 0), "hd95": (0, 374, 374)},
    "autopet": {"dice": (nan, nan, 0), "lesion_sensitivity": (nan, nan, 0)},
    "monai_ignore_empty": {"dice": (nan, nan, 0), "iou": (nan, nan, 0), "nsd": (nan, 0, 0)},
    "monai_keep_empty": {"dice": (1, 0, 0), "iou": (1, 0, 0), "nsd": (nan, 0, 0), "hd95": (nan, nan, nan)},
}
ROWS = [(name, metric, values) for name, rows in BY_HAND.items() for metric, values in rows.items()]


@pytest.mark.parametrize(("convention", "metric", "expected"), ROWS)
def test_empty_masks(convention, metric, expected):
    results = [evaluate_masks(*pair, spacing=(1, 1, 1)) for pair in CASES.values()]
    values = [result.value(Metric(metric), convention) for result in results]
    np.testing.assert_array_equal(values, expected)


def test_every_convention_has_a_rule_for_every_metric():
    assert set(BY_HAND) == set(CONVENTIONS)
    for convention in CONVENTIONS.values():
        assert set(convention.rules) == set(Metric)
        assert convention.rules[Metric.DICE].stated, f"{convention.name} is a convention for Dice"


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("metric", Metric)
def test_conventions_agree_where_nothing_is_empty(convention, metric):
    result = evaluate_masks(boxes(SHIFTED), LESION, spacing=(2, 1, 1))
    assert result.value(metric, convention) == result.formula(metric)
    assert result.formula(metric) == result.formula(metric), "it is defined"


def test_an_unknown_convention_is_refused():
    result = evaluate_masks(LESION, LESION, spacing=(1, 1, 1))
    with pytest.raises(ValueError, match="choose among nnunet, study"):
        result.value(Metric.DICE, "nnUNet")


# MONAI 1.6.1, torch 2.13.0, spacing (2, 1, 1), masks as one-hot float32 (1, 2, 6, 6, 6):
#   DiceMetric(include_background=False, ignore_empty=I)(p, r), MeanIoU(the same),
#   compute_surface_dice(p, r, [1.0], spacing=(2., 1., 1.)),
#   compute_hausdorff_distance(p, r, percentile=95, spacing=(2., 1., 1.))
# columns: Dice with I = True, IoU with I = True, Dice with I = False, IoU with I = False, NSD, HD95
MONAI = {
    "both": (nan, nan, 1, 1, nan, nan),
    "spurious": (nan, nan, 0, 0, 0, nan),
    "missed": (0, 0, 0, 0, 0, nan),
    "normal": (0.47058823704719543, 0.3076923191547394) * 2 + (0.6600000262260437, 2.2360680103302),
    "disjoint": (0, 0, 0, 0, 0, 9.433980941772461),
}


@pytest.mark.parametrize("case", MONAI)
def test_as_monai(case):
    empty, lesion, other = (boxes(*several, size=6) for several in ((), (CORNER,), (SHIFTED,)))
    far = boxes(((5, 6),) * 3, size=6)
    pair = {"both": (empty, empty), "spurious": (lesion, empty), "missed": (empty, lesion),
            "normal": (other, lesion), "disjoint": (far, lesion)}[case]  # fmt: skip
    result = evaluate_masks(*pair, spacing=(2, 1, 1))
    ours = [
        result.value(Metric.DICE, "monai_ignore_empty"),
        result.value(Metric.IOU, "monai_ignore_empty"),
        result.value(Metric.DICE, "monai_keep_empty"),
        result.value(Metric.IOU, "monai_keep_empty"),
        result.value(Metric.NSD, "monai_keep_empty"),
        result.value(Metric.HD95, "monai_ignore_empty"),
    ]
    np.testing.assert_allclose(ours, MONAI[case], rtol=1e-6)


# panoptica 2.1.7: Panoptica_Evaluator(expected_input=InputType.SEMANTIC,
#   instance_approximator=ConnectedComponentsInstanceApproximator(),
#   instance_matcher=NaiveThresholdMatching(matching_metric=Metric.IOU, matching_threshold=THRESHOLD),
#   instance_metrics=[Metric.DSC, Metric.IOU, Metric.ASSD], global_metrics=the same).evaluate(prediction,
#   reference, voxelspacing=(1., 1., 1.)), uint8 masks; None is NaN here.
# columns: TP, FP, FN, precision, recall, RQ, SQ, PQ, global Dice, global IoU
PANOPTICA = {
    (1e-9, "both"): (0, 0, 0, nan, nan, nan, nan, nan, nan, nan),
    (1e-9, "spurious"): (0, 1, 0, 0, nan, 0, 0, 0, 0, 0),
    (1e-9, "missed"): (0, 0, 1, nan, 0, 0, 0, 0, 0, 0),
    (1e-9, "disjoint"): (0, 1, 1, 0, 0, 0, 0, 0, 0, 0),
    (1e-9, "one"): (1, 0, 0, 1, 1, 1, 0.3076923076923077, 0.3076923076923077, 0.47058823529411764,
                    0.3076923076923077),
    (1e-9, "two"): (2, 1, 0, 0.6666666666666666, 1, 0.8, 0.48717948717948717, 0.38974358974358975,
                    0.6185567010309279, 0.44776119402985076),
    (1e-9, "bridge"): (1, 0, 1, 1, 0.5, 0.6666666666666666, 0.375, 0.25, 0.8571428571428571, 0.75),
    (1e-9, "split"): (1, 1, 0, 0.5, 1, 0.6666666666666666, 0.375, 0.25, 0.8571428571428571, 0.75),
    (0.5, "one"): (0, 1, 1, 0, 0, 0, 0, 0, 0.47058823529411764, 0.3076923076923077),
    (0.5, "two"): (1, 2, 1, 0.3333333333333333, 0.5, 0.4, 0.6666666666666666, 0.26666666666666666,
                   0.6185567010309279, 0.44776119402985076),
    (0.5, "bridge"): (0, 1, 2, 0, 0, 0, 0, 0, 0.8571428571428571, 0.75),
    (0.5, "split"): (0, 2, 1, 0, 0, 0, 0, 0, 0.8571428571428571, 0.75),
}  # fmt: skip
PANOPTICA_MASKS = {
    "both": (EMPTY, EMPTY),
    "spurious": (LESION, EMPTY),
    "missed": (EMPTY, LESION),
    "disjoint": (boxes(FAR), LESION),
    "one": (boxes(SHIFTED), LESION),
    "two": (boxes(SHIFTED, FAR_PART, SPECK), boxes(CORNER, FAR)),
    "bridge": (boxes(BRIDGE), boxes(CORNER, SECOND)),
    "split": (boxes(CORNER, SECOND), boxes(BRIDGE)),
}
PANOPTICA_COLUMNS = (
    Metric.LESION_PRECISION,
    Metric.LESION_SENSITIVITY,
    Metric.LESION_F1,
    Metric.SEGMENTATION_QUALITY,
    Metric.PANOPTIC_QUALITY,
    Metric.DICE,
    Metric.IOU,
)


@pytest.mark.parametrize(("threshold", "case"), PANOPTICA)
def test_as_panoptica(threshold, case):
    prediction, reference = PANOPTICA_MASKS[case]
    settings = Settings(minimum_iou=threshold)
    result = evaluate_masks(prediction, reference, spacing=(1, 1, 1), settings=settings)
    lesions = result.lesions
    ours = [lesions.tp, lesions.fp, lesions.fn]
    ours += [result.value(metric, "panoptica") for metric in PANOPTICA_COLUMNS]
    np.testing.assert_allclose(ours, PANOPTICA[threshold, case], rtol=1e-12)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("pair", CASES.values(), ids=CASES)
def test_no_panoptic_quality_without_pairs(convention, pair):
    result = evaluate_masks(*pair, spacing=(1, 1, 1), settings=Settings(matching=Matching.OVERLAP))
    assert np.isnan(result.value(Metric.PANOPTIC_QUALITY, convention))


def test_the_page_shows_the_table():
    """docs/metrics.md: both empty, reference empty, prediction empty; bold where the source says so."""
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for convention in CONVENTIONS.values():
        cells = [_cell(convention.rules[metric]) for metric in Metric]
        assert f"| `{convention.name}` | {' | '.join(cells)} |" in page


def _cell(rule):
    values = (rule.both_empty, rule.reference_empty, rule.prediction_empty)
    text = " ".join("–" if np.isnan(value) else "∞" if value == inf else f"{value:g}" for value in values)
    return f"**{text}**" if rule.stated else text
