"""Against hand-computed values and SciPy."""

from __future__ import annotations

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
    draws = Resamples.draw(40, 1)
    pairs = compare_pairs(values, draws)
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
    (pair,) = compare_pairs(values, Resamples.draw(40, 2))
    assert pair.passes_test
    assert pair.difference.low < 0 < pair.difference.value
    assert not pair.shown


def test_a_single_loss_has_a_rank_and_no_pairs() -> None:
    values = {"only": np.ones((1, 3))}
    assert compare_pairs(values, Resamples.draw(3, 1)) == ()
    assert rank(values, ()).mean_ranks == {"only": 1.0}
