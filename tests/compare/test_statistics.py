"""Against hand-computed values and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from nnunet_losses.compare.statistics import (
    Resamples,
    case_means,
    compare_pairs,
    holm,
    rank,
    weighted_auroc,
    wilcoxon_p,
)
from nnunet_losses.serve.metrics.intervals import auroc


def test_means_leave_out_what_does_not_count() -> None:
    values = np.array([[0.0, 1.0, np.nan], [0.5, np.nan, np.nan]])
    assert case_means(values)[:2].tolist() == [0.25, 1.0]
    assert np.isnan(case_means(values)[2])
    estimate = Resamples.draw(3, 2).mean(values)
    assert (estimate.value, estimate.n) == (0.5, 2)
    assert 0.0 <= estimate.low <= 0.5 <= estimate.high <= 1.0


def test_interval_has_the_width_of_the_theory() -> None:
    values = np.random.default_rng(1).normal(size=(1, 400))
    estimate = Resamples.draw(400, 1, seed=2).mean(values)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.08)


def test_trainings_that_differ_widen_the_interval() -> None:
    cases = np.random.default_rng(1).normal(size=100)
    draws = Resamples.draw(100, 4)
    alike = draws.mean(np.tile(cases, (4, 1)))
    apart = draws.mean(cases + np.array([[-1.0], [0.0], [0.0], [1.0]]))
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_auroc_agrees_with_the_metrics_and_with_repeated_cases() -> None:
    generator = np.random.default_rng(0)
    scores, present = generator.integers(0, 5, 30).astype(float), generator.random(30) < 0.4
    table = np.stack([scores, present.astype(float)], axis=1)
    assert weighted_auroc(table, np.ones((1, 30)))[0] == pytest.approx(auroc(scores, present))
    often = generator.integers(0, 4, 30)
    expected = auroc(np.repeat(scores, often), np.repeat(present, often))
    assert weighted_auroc(table, often[None].astype(float))[0] == pytest.approx(expected)


def test_statistic_passes_over_a_training_that_is_missing() -> None:
    table = np.array([[[0.9, 1], [0.1, 0]], [[np.nan, np.nan], [np.nan, np.nan]]])
    assert Resamples.draw(2, 2).statistic(table, weighted_auroc).value == 1.0


def test_wilcoxon_is_scipys() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, 20)
    assert wilcoxon_p(differences) == pytest.approx(stats.wilcoxon(differences).pvalue)
    assert wilcoxon_p(np.append(differences, np.nan)) == wilcoxon_p(differences)
    assert wilcoxon_p(np.full(4, np.nan)) == 1.0


def test_holm_keeps_the_order_and_never_exceeds_one() -> None:
    assert holm([0.02, 0.001, 0.9, 0.03]) == pytest.approx([0.06, 0.004, 0.9, 0.06])
    assert holm([]) == []


def test_losses_that_differ_are_told_apart_and_equal_ones_joined() -> None:
    generator = np.random.default_rng(0)
    base = generator.random((1, 40))
    values = {"bad": base - 0.3, "good": base, "same": base + generator.normal(0, 0.01, (1, 40))}
    pairs = compare_pairs(values)
    shown = {frozenset((pair.first, pair.second)) for pair in pairs if pair.shown}
    assert shown == {frozenset(("bad", "good")), frozenset(("bad", "same"))}
    difference = next(pair.difference for pair in pairs if (pair.first, pair.second) == ("bad", "good"))
    assert (difference.low, difference.value, difference.high) == pytest.approx((-0.3, -0.3, -0.3))
    ranking = rank(values, pairs)
    assert list(ranking.mean_ranks)[-1] == "bad"
    assert ranking.mean_ranks["bad"] == 3
    assert [set(group) for group in ranking.groups] == [{"good", "same"}]
    assert ranking.friedman_p < 0.001


def test_a_difference_that_another_training_could_undo_is_not_shown() -> None:
    """One of two trainings is much better, the other a little worse: the test sees only their mean."""
    cases = np.random.default_rng(0).random(40) / 2
    values = {"first": np.stack([cases + 0.3, cases - 0.05]), "second": np.stack([cases, cases])}
    (pair,) = compare_pairs(values)
    assert pair.passes_test
    assert pair.difference.low < 0 < pair.difference.value
    assert not pair.shown


def test_the_interval_of_one_training_is_students_over_cases() -> None:
    differences = np.random.default_rng(3).normal(0.1, 0.3, (1, 25))
    (pair,) = compare_pairs({"first": differences, "second": np.zeros((1, 25))})
    expected = stats.ttest_1samp(differences[0], 0).confidence_interval(0.95)
    assert (pair.difference.low, pair.difference.high) == pytest.approx(tuple(expected))
    assert pair.trainings == 1


def test_the_intervals_of_several_pairs_hold_together() -> None:
    values = {name: np.random.default_rng(seed).random((1, 25)) for seed, name in enumerate("abc")}
    pair = compare_pairs(values)[0]
    expected = stats.ttest_1samp((values["a"] - values["b"])[0], 0).confidence_interval(1 - 0.05 / 3)
    assert (pair.difference.low, pair.difference.high) == pytest.approx(tuple(expected))


def test_seeds_that_vary_are_not_taken_for_losses_that_differ() -> None:
    """Two trainings each of four equal losses: a third would fall elsewhere, as those of all four tell."""
    generator = np.random.default_rng(0)
    shown = tested = 0
    for _ in range(60):
        cases = generator.random(40)
        values = {
            name: cases + generator.normal(0, 0.08, (2, 1)) + generator.normal(0, 0.1, (2, 40))
            for name in "abcd"
        }
        pairs = compare_pairs(values)
        tested += any(pair.passes_test for pair in pairs)
        shown += any(pair.shown for pair in pairs)
    assert tested > 45  # the test over cases alone is nearly always sure
    assert shown <= 7


def test_an_interval_covers_the_difference_of_crossed_trainings_and_cases() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        first = generator.normal(0, 0.1, (3, 1)) + generator.normal(0, 0.3, (1, 30))
        noise = generator.normal(0, 0.1, (3, 30))
        (pair,) = compare_pairs({"first": first + noise + 0.2, "second": np.zeros((3, 30))})
        covered += pair.difference.low <= 0.2 <= pair.difference.high
    assert 276 <= covered <= 300  # 95 % of 300 are 285


def test_folds_with_cases_of_their_own_do_not_count_them_twice() -> None:
    """One seed, five folds: each case has one difference, and the interval is about that over all cases."""
    generator = np.random.default_rng(2)
    table = np.full((5, 100), np.nan)
    for fold in range(5):
        table[fold, fold * 20 : fold * 20 + 20] = generator.normal(0.1, 0.2, 20)
    (pair,) = compare_pairs({"first": table, "second": np.where(np.isnan(table), np.nan, 0.0)})
    assert pair.difference.n == 100
    half = (pair.difference.high - pair.difference.low) / 2
    assert 0.2 / 10 * 1.9 < half < 0.2 / 10 * 4.5


def test_a_missing_training_does_not_make_a_difference() -> None:
    """The second fold is easier; that only one loss was trained on it says nothing about the losses."""
    first = np.array([[0.2, 0.4, np.nan, np.nan], [np.nan, np.nan, 0.9, 0.95]])
    second = np.where(np.arange(2)[:, None] == 0, first, np.nan)
    (pair,) = compare_pairs({"first": first, "second": second})
    assert (pair.difference.value, pair.difference.n, pair.trainings) == (0.0, 2, 1)


def test_one_case_shows_nothing() -> None:
    (pair,) = compare_pairs({"first": np.array([[0.9], [0.8]]), "second": np.array([[0.1], [0.2]])})
    assert pair.difference.value == pytest.approx(0.7)
    assert np.isnan(pair.difference.low)
    assert not pair.shown


@pytest.mark.parametrize(
    "differences", [[0.1] * 5, [0.1, 0.2, 0.3, 0.4, 0.5, 0.0], [0.1, 0.1], [-0.2, 0.1, 0.1]]
)
def test_few_ties_and_zeros_are_tested_exactly(differences: list[float]) -> None:
    """Against all signs by hand; a normal approximation finds p = 0.025 for five equal differences."""
    values = np.array(differences)
    ranks = stats.rankdata(np.abs(values))
    signs = np.array(list(itertools.product((-1, 1), repeat=len(values)))) * (values != 0)
    sums, seen = signs @ ranks, np.sign(values) @ ranks
    expected = np.mean(np.abs(sums) >= abs(seen) - 1e-9)
    assert wilcoxon_p(values) == pytest.approx(expected)


def test_a_single_loss_has_a_rank_and_no_pairs() -> None:
    values = {"only": np.ones((1, 3))}
    assert compare_pairs(values) == ()
    assert rank(values, ()).mean_ranks == {"only": 1.0}
