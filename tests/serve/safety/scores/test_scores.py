"""Each score: hand-computed, invariant where it should be, and without an opinion where it has no ground."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nnunet_losses.serve.safety.scores.channels import Correlations
from nnunet_losses.serve.safety.scores.found import Found
from nnunet_losses.serve.safety.scores.geometry import GridDistance, Orientation
from nnunet_losses.serve.safety.scores.histogram import EXPECTED, Histogram, log_counts, quantile_edges
from nnunet_losses.serve.safety.scores.neighbours import LedoitWolf, Neighbours
from nnunet_losses.serve.safety.scores.observation import LEVELS, Observation
from nnunet_losses.serve.safety.scores.plausibility import Plausibility
from nnunet_losses.serve.safety.scores.robust import Usual

from .cases import GRID, some

KNOWN = some(24)
CASE = KNOWN[0]


def with_features(*values: float) -> Observation:
    return replace(CASE, features={"stage0": np.array(values)})


def with_spacing(*spacing: float) -> Observation:
    z, y, x = spacing
    return replace(CASE, grid=replace(GRID, spacing=(z, y, x)))


def with_correlation(r: float) -> Observation:
    return replace(CASE, correlations=np.array([[1, r], [r, 1]]))


def with_found(volume: float, components: float = 1, place: float = 0.5) -> Observation:
    found = Found(np.array([volume]), np.array([components]), np.full((1, 3), place))
    return replace(CASE, found=found)


# histograms


def test_log_counts_hold_every_value() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(2, LEVELS)), axis=1)
    edges = [quantile_edges(channel[: LEVELS // 2]) for channel in values]
    counts = EXPECTED * np.expm1(log_counts(values, edges))
    assert counts.sum() == pytest.approx(2 * LEVELS)
    assert counts[0] == pytest.approx(0)  # nothing below the smallest known value


def test_what_lies_outside_all_known_values_is_counted() -> None:
    edges = quantile_edges(np.array([0.0, 1.0, 2.0]))
    counts = EXPECTED * np.expm1(log_counts(np.array([[-1.0, 2.0, 2.1, 9.0]]), [edges]))
    assert counts[[0, -2, -1]] == pytest.approx([1, 1, 2])


@pytest.mark.parametrize("place", ["raw", "preprocessed"])
def test_another_unit_has_another_histogram(place: Any) -> None:
    histogram = Histogram.fit(KNOWN[:16], place=place)
    known = max(histogram.score(case) for case in KNOWN[16:])
    for change in (lambda v: v * 2, lambda v: v + 60, lambda v: v / 255, lambda v: 3 - v[:, ::-1]):
        assert histogram.score(replace(CASE, **{place: change(getattr(CASE, place))})) > 3 * known


def test_the_unit_of_all_cases_does_not_matter() -> None:
    """Histograms know order alone: any increasing change of all intensities leaves the scores."""
    changed = [replace(case, raw=case.raw * 8 + 1024) for case in KNOWN]
    one, other = Histogram.fit(KNOWN[1:], place="raw"), Histogram.fit(changed[1:], place="raw")
    assert one.score(CASE) == pytest.approx(other.score(changed[0]))


def test_swapped_channels_have_another_histogram() -> None:
    known = [replace(case, raw=case.raw + np.array([[0], [80]])) for case in KNOWN]
    histogram = Histogram.fit(known[1:], place="raw")
    swapped = replace(known[0], raw=known[0].raw[::-1])
    assert histogram.score(swapped) > 10 * histogram.score(known[0])


def test_a_histogram_of_one_known_case() -> None:
    histogram = Histogram.fit([CASE], place="raw")
    assert histogram.score(CASE) == 0
    assert 0 < histogram.score(KNOWN[1]) < histogram.score(replace(CASE, raw=CASE.raw + 100)) < np.inf


def test_constant_images_have_a_histogram() -> None:
    flat = [replace(CASE, raw=np.full((2, LEVELS), 5.0))] * 3
    histogram = Histogram.fit(flat, place="raw")
    assert histogram.score(flat[0]) == 0
    assert histogram.score(CASE) > 1


# features


def test_distance_to_the_nearest_by_hand() -> None:
    # deviations 1 and 2; three known cases: the first neighbour counts
    known = [with_features(0, 0), with_features(np.sqrt(1.5), 0), with_features(-np.sqrt(1.5), 0)]
    near = Neighbours.fit([*known], pooling="features")
    # the second feature is constant: its smallest deviation is 0.01
    assert near.score(with_features(np.sqrt(1.5) + 2, 0)) == pytest.approx(2 / np.sqrt(2))
    assert near.score(with_features(0, 0.03)) == pytest.approx(3 / np.sqrt(2))


def test_the_fifth_of_many_neighbours_counts() -> None:
    known = [with_features(float(value)) for value in range(20)]
    deviation = np.std(np.arange(20))
    assert Neighbours.fit(known, pooling="features").score(with_features(-1.0)) == pytest.approx(
        5 / deviation
    )


def test_every_stage_counts_alike() -> None:
    def of(small: float, large: float) -> Observation:
        return replace(CASE, features={"a": np.full(1, small), "b": np.full(100, large)})

    near = Neighbours.fit([of(-1, -1), of(1, 1), of(-1, 1), of(1, -1)], pooling="features")
    assert near.score(of(5, 1)) == pytest.approx(near.score(of(1, 5)))


@pytest.mark.parametrize("kind", [Neighbours, LedoitWolf])
def test_units_of_features_do_not_matter(kind: Any) -> None:
    def scaled(case: Observation) -> Observation:
        features = case.features
        assert features is not None
        return replace(case, features={name: 1000 * values - 5 for name, values in features.items()})

    one = kind.fit(KNOWN[1:], pooling="features").score(CASE)
    other = kind.fit([scaled(case) for case in KNOWN[1:]], pooling="features").score(scaled(CASE))
    assert one == pytest.approx(other)


@pytest.mark.parametrize("kind", [Neighbours, LedoitWolf])
def test_features_of_one_case_and_of_equal_cases(kind: Any) -> None:
    for known in ([with_features(1, 2)], [with_features(1, 2)] * 6):
        score = kind.fit(known, pooling="features")
        assert score.score(with_features(1, 2)) == 0
        assert 0 < score.score(with_features(1, 3)) < score.score(with_features(1, 9)) < np.inf


@pytest.mark.parametrize("kind", [Neighbours, LedoitWolf])
def test_strange_features_are_far(kind: Any) -> None:
    score = kind.fit(KNOWN[:16], pooling="foreground_features")
    assert CASE.foreground_features is not None
    strange = {name: values + 6 for name, values in CASE.foreground_features.items()}
    known = max(score.score(case) for case in KNOWN[16:])
    assert score.score(replace(CASE, foreground_features=strange)) > known


@pytest.mark.parametrize("kind", [Neighbours, LedoitWolf])
def test_features_that_are_missing(kind: Any) -> None:
    empty = replace(CASE, foreground_features=None)
    score = kind.fit([*KNOWN[1:], empty], pooling="foreground_features")
    assert np.isnan(score.score(empty))
    assert score.score(CASE) == kind.fit(KNOWN[1:], pooling="foreground_features").score(CASE)
    assert np.isnan(kind.fit([empty, empty], pooling="foreground_features").score(CASE))


@pytest.mark.parametrize("kind", [Neighbours, LedoitWolf])
def test_features_of_another_network_are_refused(kind: Any) -> None:
    score = kind.fit(KNOWN, pooling="features")
    for features in ({"stage0": np.zeros(4)}, {"stage0": np.zeros(4), "stage1": np.zeros(13)}):
        with pytest.raises(ValueError, match=r"known cases have \{'stage0': 4, 'stage1': 12\}"):
            score.score(replace(CASE, features=features))


# geometry


def test_spacing_is_a_ratio_to_the_nearest() -> None:
    score = GridDistance.fit([with_spacing(5, 1, 1), with_spacing(1, 1, 1)], quantity="spacing")
    assert score.score(with_spacing(5, 1, 1)) == 0
    assert score.score(with_spacing(5, 2, 1)) == pytest.approx(np.log(2))
    assert score.score(with_spacing(5, 0.5, 1)) == pytest.approx(np.log(2))
    assert score.score(with_spacing(50, 10, 10)) == pytest.approx(np.log(10))
    assert score.score(with_spacing(5, 1.005, 1)) == 0  # rounding of a header


def test_one_odd_known_case_excuses_nothing() -> None:
    known = [with_spacing(3, 1, 1)] * 19 + [with_spacing(30, 10, 10)]
    score = GridDistance.fit(known, quantity="spacing")
    assert score.score(with_spacing(30, 10, 10)) == pytest.approx(np.log(10))


def test_extent_obliqueness_and_nonzero_share() -> None:
    def oblique(angle: float) -> Observation:
        return replace(CASE, grid=replace(GRID, obliqueness=angle))

    assert GridDistance.fit([oblique(0)], quantity="obliqueness").score(oblique(20)) == 20
    assert GridDistance.fit([oblique(0)], quantity="obliqueness").score(oblique(0.5)) == 0
    half = replace(CASE, grid=replace(GRID, extent=(60.0, 50.0, 100.0)))
    assert GridDistance.fit([oblique(0)], quantity="extent").score(half) == pytest.approx(np.log(2))
    share = GridDistance.fit([replace(CASE, nonzero=np.array([0.5, 0.5]))], quantity="nonzero")
    assert share.score(replace(CASE, nonzero=np.array([0.5, 0.9]))) == pytest.approx(0.4)


def test_surprise_at_an_orientation() -> None:
    def turned(code: str) -> Observation:
        return replace(CASE, grid=replace(GRID, orientation=code))

    score = Orientation.fit([turned("LPS")] * 3 + [turned("RAS")])
    surprise = [score.score(turned(code)) for code in ("LPS", "RAS", "LPI")]
    assert surprise == pytest.approx([np.log(5 / 4), np.log(5 / 2), np.log(5)])
    assert Orientation.fit([turned("LPS")] * 9).score(turned("LPS")) == 0


# channels


def test_correlations_by_hand() -> None:
    known = [with_correlation(np.tanh(z)) for z in (0.1, 0.3, 0.5)]  # median 0.3, deviation 0.2 * 1.4826
    score = Correlations.fit(known)
    assert score.score(with_correlation(np.tanh(0.9))) == pytest.approx(0.6 / 0.2 / 1.4826)
    assert score.score(with_correlation(np.tanh(-0.3))) == pytest.approx(0.6 / 0.2 / 1.4826)
    assert 10 < score.score(with_correlation(1.0)) < np.inf  # the same channel twice


def test_a_single_channel_and_constant_ones_have_no_correlation() -> None:
    single = some(3, channels=1)
    assert np.isnan(Correlations.fit(single).score(single[0]))
    assert np.isnan(Correlations.fit(KNOWN).score(with_correlation(np.nan)))


# plausibility


def test_volume_counts_to_both_sides() -> None:
    known = [with_found(np.expm1(logarithm)) for logarithm in (6.5, 7.0, 7.5)]
    score = Plausibility.fit(known, aspect="volume")
    expected = 2 / 0.5 / 1.4826
    assert score.score(with_found(np.expm1(9))) == pytest.approx(expected)
    assert score.score(with_found(np.expm1(5))) == pytest.approx(expected)
    assert score.score(with_found(0)) == pytest.approx(7 / 0.5 / 1.4826)  # missing


def test_what_is_always_so_has_the_smallest_spread_that_is_believed() -> None:
    known = [with_found(100)] * 4
    assert Plausibility.fit(known, aspect="components").score(with_found(100, 3)) == pytest.approx(
        np.log(2) / 0.2
    )
    assert Plausibility.fit(known, aspect="place").score(with_found(100, 1, 0.6)) == pytest.approx(5)
    assert Plausibility.fit(known, aspect="volume").score(with_found(100)) == 0


def test_the_label_that_deviates_most_counts() -> None:
    assert CASE.found is not None
    found = replace(CASE.found, components=np.array([1.0, 90.0]))
    score = Plausibility.fit(KNOWN, aspect="components")
    assert score.score(replace(CASE, found=found)) > 5 > score.score(CASE)


def test_what_was_not_found_has_no_place() -> None:
    score = Plausibility.fit([with_found(100)] * 3, aspect="place")
    assert np.isnan(score.score(with_found(0, 0, np.nan)))
    never = Plausibility.fit([with_found(0, 0, np.nan)] * 3, aspect="place")
    assert np.isnan(never.score(with_found(100)))


def test_no_mask_no_score() -> None:
    without = replace(CASE, found=None)
    for aspect in ("volume", "components", "place"):
        assert np.isnan(Plausibility.fit(KNOWN, aspect=aspect).score(without))
        assert np.isnan(Plausibility.fit([without], aspect=aspect).score(CASE))


# all of them


def test_usual_values_ignore_outliers() -> None:
    usual = Usual.of(np.array([[1.0], [2.0], [3.0], [1e9]]), least=0.1)
    assert usual.centre.tolist() == [2.5]
    assert usual.scale == pytest.approx([1.4826])
    mostly_equal = Usual.of(np.array([[5.0], [5.0], [5.0], [9.0]]), least=0.1)
    assert mostly_equal.scale == pytest.approx([np.sqrt(np.pi / 2)])


@pytest.mark.parametrize(
    "fit",
    [
        lambda cases: Histogram.fit(cases, place="raw"),
        lambda cases: Neighbours.fit(cases, pooling="features"),
        lambda cases: LedoitWolf.fit(cases, pooling="features"),
        lambda cases: GridDistance.fit(cases, quantity="nonzero"),
        Orientation.fit,
        Correlations.fit,
        lambda cases: Plausibility.fit(cases, aspect="volume"),
    ],
)
def test_nothing_to_fit_to_is_refused(fit: Any) -> None:
    with pytest.raises(ValueError, match="no cases"):
        fit([])


def test_other_channels_and_labels_are_refused() -> None:
    (three,) = some(1, channels=3)
    for score in (
        Histogram.fit(KNOWN, place="raw"),
        GridDistance.fit(KNOWN, quantity="nonzero"),
        Correlations.fit(KNOWN),
    ):
        with pytest.raises(ValueError, match="case has 3 channels; the known cases have 2"):
            score.score(three)
    for fit in (Correlations.fit, lambda cases: Histogram.fit(cases, place="raw")):
        with pytest.raises(ValueError, match=r"\[2, 3\] channels"):
            fit([CASE, three])
    with pytest.raises(ValueError, match="case has 1 values; the known cases have 2"):
        Plausibility.fit(KNOWN, aspect="volume").score(with_found(5))
    with pytest.raises(ValueError, match=r"\[1, 2\] values"):
        Plausibility.fit([CASE, with_found(5)], aspect="volume")
