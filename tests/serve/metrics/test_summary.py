"""Many cases: means, shares and intervals."""

from __future__ import annotations

from math import inf, isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_losses.serve.metrics import (
    Bootstrap,
    CaseResult,
    Estimate,
    Metric,
    auroc,
    evaluate_masks,
    share,
    summarise,
)
from nnunet_losses.serve.metrics.calibration_error import ReliabilityBins, reliability_bins

from .masks import CORNER, EMPTY, FAR, SHIFTED, SPECK, STEADY, boxes

LESION = boxes(CORNER)
CASES = [
    CaseResult(name, {"lesion": evaluate_masks(prediction, reference, spacing=(1, 1, 1), score=score)})
    for name, prediction, reference, score in (
        ("true negative", EMPTY, EMPTY, 0.1),
        ("hallucinated", boxes(CORNER, SPECK), EMPTY, 0.6),
        ("missed", EMPTY, LESION, 0.4),
        ("found", LESION, LESION, 0.9),
        ("half", boxes(CORNER), boxes(CORNER, FAR), 0.8),
    )
]


@pytest.fixture(scope="module")
def summary():
    return summarise(CASES, size_edges=(0.01,))[0]


# Dice of the five cases: empty, 0, 0, 1, 2 * 27 / (27 + 54) = 2 / 3
@pytest.mark.parametrize(
    ("convention", "value", "n"),
    [
        ("nnunet", (0 + 0 + 1 + 2 / 3) / 4, 4),
        ("study", (1 + 0 + 0 + 1 + 2 / 3) / 5, 5),
        ("panoptica", (0 + 0 + 1 + 2 / 3) / 4, 4),
        ("isles22", (1 + 0 + 0 + 1 + 2 / 3) / 5, 5),
        ("brats", (1 + 0 + 0 + 1 + 2 / 3) / 5, 5),
        ("autopet", (0 + 1 + 2 / 3) / 3, 3),
        ("monai_ignore_empty", (0 + 1 + 2 / 3) / 3, 3),
        ("monai_keep_empty", (1 + 0 + 0 + 1 + 2 / 3) / 5, 5),
    ],
)
def test_mean_dice_by_hand(summary, convention, value, n):
    estimate = summary.metrics[Metric.DICE][convention]
    assert estimate.value == pytest.approx(value)
    assert estimate.n == n
    assert estimate.low < estimate.value < estimate.high


def test_distances_that_are_infinite_stay_so(summary):
    """One of three such cases is in almost every resample, and in none of a few."""
    estimate = summary.metrics[Metric.HD95]["panoptica"]
    assert (estimate.value, estimate.high, estimate.n) == (inf, inf, 4)
    assert summary.metrics[Metric.HD95]["brats"].value == pytest.approx((0 + 374 + 374 + 0 + HD95_HALF) / 5)
    assert summary.metrics[Metric.HD95]["nnunet"].value == pytest.approx(HD95_HALF / 2)


# 26 + 26 surface voxels: the 95th percentile lies at the 49th, one voxel from the far box's furthest corner
HD95_HALF = (7**2 + 7**2 + 6**2) ** 0.5


@pytest.mark.parametrize(
    ("measure", "value", "n"),
    [
        ("specificity", 1 / 2, 2),
        ("case_sensitivity", 2 / 3, 3),
        ("lesion_free_false_volume", (27 + 1) / 1000 / 2, 2),
        ("lesion_free_false_lesions", 2 / 2, 2),
        ("false_positive_volume", 28 / 1000 / 5, 5),
        ("false_negative_volume", (27 + 27) / 1000 / 3, 3),
        ("absolute_volume_difference", (28 + 27 + 27) / 1000 / 5, 5),
        ("false_lesions", 2 / 5, 5),
        ("pooled_lesion_sensitivity", 2 / 4, 3),
        ("pooled_lesion_precision", 2 / 4, 3),
        ("presence_auroc", (2 + 2 + 1) / 6, 5),
    ],
)
def test_measures_by_hand(summary, measure, value, n):
    estimate = summary.measures[measure]
    assert estimate.value == pytest.approx(value)
    assert estimate.n == n
    assert 0 <= estimate.low <= estimate.value <= estimate.high


def test_cases_are_named(summary):
    assert (summary.positives, summary.negatives) == (3, 2)
    assert summary.missed == ("missed",)
    assert summary.hallucinated == ("hallucinated",)


def test_lesions_by_size(summary):
    """Reference: four of 27 mm³. Predicted: three such, of which one is false, and a false one of 1 mm³."""
    small, large = summary.sizes
    assert (small.references, small.predictions, small.false_share.value) == (0, 1, 1)
    assert isnan(small.sensitivity.value)
    assert (large.references, large.predictions) == (4, 3)
    assert (large.sensitivity.value, large.false_share.value) == (0.5, pytest.approx(1 / 3))


def test_a_figure_that_nobody_measured_is_none(summary):
    assert summary.measures["expected_calibration_error"].n == 0


@pytest.mark.parametrize(
    ("successes", "cases", "low", "high"),
    [  # scipy.stats.binomtest(successes, cases).proportion_ci(method="exact"), SciPy 1.17.1
        (0, 20, 0, 0.1684335),
        (9, 20, 0.2305779, 0.6847219),
        (20, 20, 0.8315665, 1),
        (1, 1, 0.025, 1),
    ],
)
def test_exact_intervals(successes, cases, low, high):
    estimate = share(successes, cases)
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@given(cases=st.integers(1, 60), data=st.data(), level=st.sampled_from([0.8, 0.95]))
@STEADY
def test_exact_intervals_invert_the_binomial_test(cases, data, level):
    from scipy.stats import binom

    successes = data.draw(st.integers(0, cases))
    estimate = share(successes, cases, level=level)
    if successes:
        assert binom.sf(successes - 1, cases, estimate.low) == pytest.approx((1 - level) / 2)
    if successes < cases:
        assert binom.cdf(successes, cases, estimate.high) == pytest.approx((1 - level) / 2)


def test_bootstrap_is_repeatable_and_resamples_cases():
    values = np.array([0.1, 0.5, nan, 0.9, 0.7])
    one, again, other = (Bootstrap(5, seed=seed).mean(values) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    drawn = np.random.default_rng(1).multinomial(5, [0.2] * 5, size=2000)
    means = [np.nanmean(np.repeat(values, times)) for times in drawn if times[[0, 1, 3, 4]].any()]
    expected = np.quantile(means, [0.025, 0.975], method="inverted_cdf")
    assert (one.low, one.high) == pytest.approx(tuple(expected))


def test_bootstrap_covers():
    """Of 200 samples about 95 % of the intervals hold the true mean: fewer at n = 30, more than 88 %."""
    generator = np.random.default_rng(0)
    samples = generator.uniform(0, 1, (200, 30))
    inside = [(e := Bootstrap(30, resamples=400).mean(s)).low <= 0.5 <= e.high for s in samples]
    assert 0.88 < np.mean(inside) < 0.99


@given(
    scores=st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, inf]), st.booleans()), min_size=1, max_size=12)
)
@STEADY
def test_auroc_by_pairs(scores):
    values, present = np.array([s for s, _ in scores]), np.array([p for _, p in scores])
    pairs = [(a > b) + 0.5 * (a == b) for a in values[present] for b in values[~present]]
    area = auroc(values, present)
    assert isnan(area) if not pairs else area == pytest.approx(np.mean(pairs))


def test_auroc_of_numbers():
    """1 and 0 mean the same as true and false."""
    assert auroc([1, 2, 3], [0, 1, 1]) == 1
    assert auroc(np.array([1, 2, 3]), np.array([1, 1, 0])) == 0


def test_auroc_interval_resamples_cases():
    scores, present = np.array([0.9, 0.6, 0.4, 0.5, 0.2]), np.array([True, True, True, False, False])
    bootstrap = Bootstrap(5, resamples=300)
    drawn = [
        auroc(np.repeat(scores, times), np.repeat(present, times)) for times in bootstrap.weights.astype(int)
    ]
    known = [area for area in drawn if not isnan(area)]
    expected = np.quantile(known, [0.025, 0.975], method="inverted_cdf")
    estimate = bootstrap.auroc(scores, present)
    assert (estimate.low, estimate.high) == pytest.approx(tuple(expected))


def test_calibration_error_by_hand():
    """Two bins: 0.2 and 0.4 with one of two foreground; 0.8 without foreground."""
    bins = reliability_bins(np.array([0.2, 0.4, 0.8]), np.array([True, False, False]), bins=2)
    assert bins.expected_calibration_error == pytest.approx((2 * abs(0.5 - 0.3) + 1 * 0.8) / 3)


def test_calibration_error_of_the_edges():
    bins = reliability_bins(np.array([0.0, 1.0]), np.array([False, True]))
    assert bins.expected_calibration_error == 0
    assert (bins.voxels[0], bins.voxels[-1]) == (1, 1)


def test_calibration_error_pools_voxels():
    generator = np.random.default_rng(0)
    probability = generator.random(1000)
    truth = generator.random(1000) < probability**2
    parts = [reliability_bins(probability[half], truth[half]) for half in (slice(300), slice(300, 1000))]
    whole = reliability_bins(probability, truth).expected_calibration_error
    assert ReliabilityBins.pooled(parts).expected_calibration_error == pytest.approx(whole)
    cases = [
        CaseResult(str(index), {"lesion": evaluate_masks(boxes(SHIFTED), LESION, spacing=(1, 1, 1),
                                                         probability=np.full(LESION.shape, chance))})
        for index, chance in enumerate((0.25, 0.5))
    ]  # fmt: skip
    estimate = summarise(cases)[0].measures["expected_calibration_error"]
    density = 27 / 12**3
    assert estimate.value == pytest.approx((0.25 - density + 0.5 - density) / 2)
    assert estimate.n == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cases": []}, "give at least one"),
        ({"conventions": ["unknown"]}, "choose among"),
        ({"level": 1.5}, "between 0 and 1"),
        ({"resamples": 0}, "draw at least once"),
        ({"size_edges": (1.0, 0.5)}, "do not ascend"),
    ],
)
def test_wrong_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        summarise(**{"cases": CASES, **arguments})


def test_an_estimate_of_nothing():
    nothing = Bootstrap(2).mean(np.array([nan, nan]))
    assert (nothing.n, isnan(nothing.value), isnan(nothing.low)) == (0, True, True)
    assert share(0, 0).n == Estimate.nothing().n == 0
