"""Metrics of one case: by hand, by brute force, and their laws."""

from __future__ import annotations

import itertools
from math import inf, isnan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_losses.serve.metrics import (
    Connectivity,
    Label,
    LabelSet,
    Matching,
    Metric,
    Settings,
    evaluate_case,
    evaluate_masks,
)
from nnunet_losses.serve.metrics.lesions import find_lesions
from nnunet_losses.serve.metrics.surfaces import surface_distances, surface_voxels

from .masks import BRIDGE, CORNER, EMPTY, FAR, SECOND, STEADY, boxes, pairs, spacings

FRACTIONS = [metric for metric in Metric if metric is not Metric.HD95]


def same(first: float, second: float) -> bool:
    return (isnan(first) and isnan(second)) or first == pytest.approx(second, rel=1e-12, abs=1e-12)


def surface_by_hand(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Voxels with a face neighbour that is outside, along axes longer than 1."""
    found = []
    for index in zip(*np.nonzero(mask), strict=True):
        for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
            neighbour = list(index)
            neighbour[axis] += step
            within = 0 <= neighbour[axis] < mask.shape[axis]
            if mask.shape[axis] > 1 and not (within and mask[tuple(neighbour)]):
                found.append(tuple(int(one) for one in index))
                break
    return found if max(mask.shape) > 1 else [(0,) * mask.ndim] * bool(mask.any())


def nearest_by_hand(points, others, spacing) -> list[float]:
    steps = np.array(spacing)
    return [min(float(np.linalg.norm((np.array(p) - np.array(o)) * steps)) for o in others) for p in points]


@settings(STEADY, max_examples=150)
@given(pair=pairs, spacing=spacings)
def test_surfaces_by_brute_force(pair, spacing):
    surfaces = [surface_by_hand(mask) for mask in pair]
    for mask, surface in zip(pair, surfaces, strict=True):
        assert sorted(map(tuple, surface_voxels(mask).tolist())) == sorted(surface)
    distances = surface_distances(*pair, spacing)
    if not (surfaces[0] and surfaces[1]):
        assert isnan(distances.hausdorff())
        assert isnan(distances.nsd(1.0))
        return
    directed = [nearest_by_hand(*order, spacing) for order in (surfaces, surfaces[::-1])]
    assert distances.hausdorff(95) == pytest.approx(max(np.percentile(one, 95) for one in directed))
    near = [distance <= 1.0 + 1e-9 for one in directed for distance in one]
    assert distances.nsd(1.0) == pytest.approx(sum(near) / len(near))


def test_a_tolerance_is_not_lost_to_rounding():
    one, other = np.zeros((1, 1, 8), bool), np.zeros((1, 1, 8), bool)
    one[..., 0] = other[..., 3] = True
    assert surface_distances(one, other, (1, 1, 0.1)).nsd(0.3) == 1


@STEADY
@given(pair=pairs, spacing=spacings, matching=st.sampled_from(Matching), minimum=st.sampled_from([0, 0.3, 1]))
def test_bounds_and_identity(pair, spacing, matching, minimum):
    options = Settings(matching=matching, minimum_iou=minimum)
    result = evaluate_masks(*pair, spacing=spacing, settings=options)
    for metric in FRACTIONS:
        assert isnan(result.formula(metric)) or 0 <= result.formula(metric) <= 1
    assert isnan(result.hd95) or result.hd95 >= 0
    itself = evaluate_masks(pair[0], pair[0], spacing=spacing, settings=options)
    for metric in FRACTIONS:
        assert isnan(itself.formula(metric)) or itself.formula(metric) == 1
    assert not itself.hd95 > 0
    assert itself.absolute_volume_difference == itself.false_positive_volume == 0


@STEADY
@given(pair=pairs, spacing=spacings, minimum=st.sampled_from([0, 0.3, 0.5]))
def test_symmetry(pair, spacing, minimum):
    """Prediction and reference may change places; sensitivity and precision do, too."""
    forward, backward = (
        evaluate_masks(*order, spacing=spacing, settings=Settings(minimum_iou=minimum))
        for order in (pair, pair[::-1])
    )
    for metric in (Metric.DICE, Metric.IOU, Metric.NSD, Metric.HD95):
        assert same(forward.formula(metric), backward.formula(metric))
    assert same(forward.lesions.panoptic_quality * 0, backward.lesions.panoptic_quality * 0)
    one, other = forward.lesions.matched_iou, backward.lesions.matched_iou
    assert one is not None
    assert other is not None
    assert one.sum() == pytest.approx(other.sum())
    assert forward.false_positive_volume == backward.false_negative_volume


def best_sum(iou: np.ndarray) -> float:
    """Largest sum over all ways to pair rows with columns."""
    wide = iou if iou.shape[0] <= iou.shape[1] else iou.T
    ways = itertools.permutations(range(wide.shape[1]), wide.shape[0])
    return max((sum(wide[row, column] for row, column in enumerate(way)) for way in ways), default=0.0)


@settings(STEADY, max_examples=60)
@given(row=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=16))
def test_pairs_have_the_largest_sum_of_iou(row):
    prediction, reference = (np.array(one)[None] for one in zip(*row, strict=True))
    lesions = find_lesions(prediction, reference)
    parts = [np.flatnonzero(mask[0]) for mask in (reference, prediction)]
    runs = [
        [set(run) for run in np.split(one, np.flatnonzero(np.diff(one) > 1) + 1) if len(run)] for one in parts
    ]
    if len(runs[1]) > 6 or len(runs[0]) > 6:
        return
    iou = np.array([[len(r & p) / len(r | p) for p in runs[1]] for r in runs[0]])
    assert lesions.matched_iou is not None
    expected = best_sum(iou) if iou.size else 0.0
    assert lesions.matched_iou.sum() == pytest.approx(expected)
    assert (lesions.tp + lesions.fn, lesions.tp + lesions.fp) == tuple(len(one) for one in runs)


def test_of_equal_sums_more_pairs():
    """The middle pair's IoU is 3/9, and the outer two have 1/6 each."""
    prediction, reference = np.zeros((1, 9), bool), np.zeros((1, 9), bool)
    prediction[0, 0:6] = prediction[0, 8] = True
    reference[0, 0] = reference[0, 3:9] = True
    for order in ((prediction, reference), (reference, prediction)):
        lesions = find_lesions(*order)
        assert (lesions.tp, lesions.fp, lesions.fn) == (2, 0, 0)
        assert lesions.panoptic_quality == pytest.approx(1 / 6)


def test_a_tolerance_is_not_lost_to_single_precision():
    """A NIfTI header keeps 1.2 as 1.2000000477."""
    one, other = np.zeros((1, 1, 8), bool), np.zeros((1, 1, 8), bool)
    one[..., 2] = other[..., 3] = True
    assert surface_distances(one, other, (1, 1, float(np.float32(1.2)))).nsd(1.2) == 1


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "list"])
def test_masks_of_other_types(kind):
    prediction, reference = boxes(BRIDGE, FAR), boxes(CORNER, SECOND)
    pair = [one.tolist() if kind == "list" else one.astype(kind) for one in (prediction, reference)]
    expected = evaluate_masks(prediction, reference, spacing=(1, 1, 1))
    result = evaluate_masks(*pair, spacing=(1, 1, 1))
    assert result.counts == expected.counts
    assert (result.hd95, result.lesions.tp, result.lesions.f1) == (
        expected.hd95,
        expected.lesions.tp,
        expected.lesions.f1,
    )


def test_settings_take_names():
    """What looks like a name must not quietly mean another."""
    assert Settings(matching="one-to-one", connectivity=6) == Settings(
        matching=Matching.ONE_TO_ONE, connectivity=Connectivity.FACE
    )
    for wrong in ({"matching": "greedy"}, {"connectivity": 8}):
        with pytest.raises(ValueError, match="is not a valid"):
            Settings(**wrong)


@pytest.mark.parametrize("strange", [np.nan, np.inf, 0.5])
def test_labels_that_are_no_numbers_are_refused(strange):
    labels = LabelSet((Label("lesion", (1,)),))
    good, bad = np.zeros((4, 4)), np.full((4, 4), strange)
    for order in ((good, bad), (bad, good)):
        with pytest.raises(ValueError, match="not whole"):
            evaluate_case("a", *order, spacing=(1, 1), labels=labels)


def test_overlap_counts_what_is_touched():
    """One predicted lesion finds both of the reference; one-to-one it finds one."""
    prediction, reference = boxes(BRIDGE, FAR), boxes(CORNER, SECOND)
    touched = find_lesions(prediction, reference, matching=Matching.OVERLAP)
    paired = find_lesions(prediction, reference)
    assert (touched.tp, touched.fp, touched.fn) == (2, 1, 0)
    assert (paired.tp, paired.fp, paired.fn) == (1, 1, 1)
    assert touched.f1 == 2 / 2.5


def test_volumes_of_untouched_lesions():
    """False-positive volume counts whole lesions, not the margins of found ones."""
    result = evaluate_masks(boxes(BRIDGE, FAR), boxes(CORNER), spacing=(2, 5, 10))
    assert result.false_positive_volume == pytest.approx(27 * 100 / 1000)
    assert result.false_negative_volume == 0
    assert result.counts.fp == 27 + 45
    assert result.absolute_volume_difference == pytest.approx((72 + 27 - 27) * 0.1)


@pytest.mark.parametrize(("connectivity", "count"), [(26, 1), (18, 2), (6, 3)])
def test_connectivity(connectivity, count):
    """Voxels that share a face, then an edge, then a corner."""
    mask = np.zeros((3, 4, 4), bool)
    mask[0, 0, 0:2] = mask[0, 1, 2] = mask[1, 2, 3] = True
    assert len(find_lesions(mask, mask, connectivity=Connectivity(connectivity)).found) == count


def test_many_lesions_are_counted_right():
    """Of bool arrays, cc3d 4.1 labels such masks wrongly."""
    mask = np.zeros((16, 16, 16), bool)
    mask[::2, ::2, ::2] = True
    lesions = find_lesions(mask, mask)
    assert (lesions.tp, lesions.fp, lesions.fn) == (512, 0, 0)


def test_ignored_voxels_count_nowhere():
    prediction, reference = np.zeros((1, 4, 4), np.int64), np.zeros((1, 4, 4), np.int64)
    reference[0, 0] = 1
    reference[0, 3] = 9
    prediction[0, 0] = prediction[0, 3] = 1
    labels = LabelSet((Label("lesion", (1,)),), ignore=9)
    result = evaluate_case("a", prediction, reference, spacing=(1, 1, 1), labels=labels).labels["lesion"]
    assert (result.counts.tp, result.counts.fp, result.counts.tn) == (4, 0, 8)
    assert (result.lesions.fp, result.hd95, result.predicted_volume) == (0, 0, 0.004)


def test_a_picture_has_an_area():
    result = evaluate_masks(np.ones((4, 4), bool), np.eye(4, dtype=bool), spacing=(2, 3))
    assert (result.predicted_volume, result.reference_volume) == (96, 24)


def test_region_of_several_values():
    prediction = np.array([[[1, 2, 0, 0]]])
    reference = np.array([[[2, 1, 3, 0]]])
    labels = LabelSet((Label("whole", (1, 2), region=True), Label("part", (2,))))
    results = evaluate_case("a", prediction, reference, spacing=(1, 1, 1), labels=labels).labels
    assert (results["whole"].counts.dice, results["part"].counts.dice) == (1, 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prediction": np.zeros((2, 3, 4), bool)}, "resample one to the grid"),
        ({"prediction": np.full((12, 12, 12), 2)}, "the prediction holds 2; give 0 and 1"),
        ({"spacing": (1, 1)}, "give 3 positive, finite distances"),
        ({"spacing": (1, 1, 0)}, "give 3 positive, finite distances"),
        ({"spacing": (1, 1, inf)}, "give 3 positive, finite distances"),
        ({"probability": np.full((12, 12, 12), 3.0)}, "not logits"),
        ({"probability": np.zeros((2, 2, 2))}, "differ in shape"),
    ],
)
def test_wrong_input_is_refused(changed, message):
    arguments = {"prediction": EMPTY, "reference": EMPTY, "spacing": (1, 1, 1)} | changed
    with pytest.raises(ValueError, match=message):
        evaluate_masks(**arguments)


@pytest.mark.parametrize("wrong", [{"tolerance": -1}, {"tolerance": inf}, {"minimum_iou": 1.5}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"is (-1|inf|1\.5); "):
        Settings(**wrong)
