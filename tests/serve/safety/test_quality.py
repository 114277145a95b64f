"""Expected Dice: by hand, and its interval on masks never seen."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.safety.candidates import CaseCandidates, LabelCandidates
from nnunet_losses.serve.safety.quality import expected, fit_quality, mask_features, residual_limits
from nnunet_losses.serve.safety.quality_section import QualitySection

from .votes import candidate, case


def cases(count: int, seed: int = 0) -> list[CaseCandidates]:
    """Dice follows the confidence, with noise."""
    rng = np.random.default_rng(seed)
    records = []
    for index in range(count):
        confidence = float(rng.uniform(0.5, 1))
        dice = float(np.clip(confidence + rng.normal(0, 0.05), 0, 1))
        label = LabelCandidates(
            label="lesion", components=(candidate(1.0, confidence=confidence),), dice=dice
        )
        records.append(CaseCandidates(case=f"{seed} {index}", labels=(label,)))
    return records


def test_features_by_hand() -> None:
    first = LabelCandidates(
        label="a",
        components=(candidate(1.0, volume=30.0, confidence=0.5), candidate(1.0, volume=10.0, confidence=0.9)),
    )
    second = LabelCandidates(label="b", components=(candidate(1.0, volume=10.0, confidence=0.8),))
    row = mask_features([first, second, LabelCandidates(label="c")])
    assert row == pytest.approx(((0.6 + 0.8) / 2, np.log(40 * 10) / 2, (np.log(3) + np.log(2)) / 2))
    assert mask_features([LabelCandidates(label="c")]) is None


def test_few_cases_expect_their_median() -> None:
    section = fit_quality([case(f"c{i}", hits=[1.0], dice=i / 20) for i in range(19)])
    assert section is not None
    assert (section.kind, section.intercept, section.n) == ("constant", 9 / 20, 19)
    quality = expected(section, case("new", hits=[1.0]).labels)
    # of 20 cases one is the smallest, and one the largest: 90 %
    assert (quality.expected_dice, quality.interval) == (0.45, pytest.approx((0, 0.9)))
    assert expected(section, case("new", below=-1.0).labels).expected_dice is None


def test_too_few_cases_have_no_interval() -> None:
    section = fit_quality([case(f"c{i}", hits=[1.0], dice=0.5) for i in range(18)])
    assert section is not None
    assert expected(section, case("new", hits=[1.0]).labels).interval is None
    assert fit_quality([case("empty", below=-1.0, bears=True, dice=0.0)]) is None


def test_many_cases_are_regressed() -> None:
    section = fit_quality(cases(100))
    assert section is not None
    assert (section.kind, section.n, section.n_fit) == ("linear", 50, 50)
    qualities = [expected(section, one.labels) for one in cases(20, seed=1)]
    true = [one.labels[0].dice for one in cases(20, seed=1)]
    assert np.corrcoef([quality.expected_dice or 0 for quality in qualities], true)[0, 1] > 0.8
    assert QualitySection.model_validate_json(section.model_dump_json()) == section


@pytest.mark.parametrize("count", [19, 60])
def test_the_interval_holds_its_share(count: int) -> None:
    held = []
    for draw in range(100):
        section = fit_quality(cases(count, seed=draw), coverage=0.8)
        assert section is not None
        for one in cases(10, seed=1000 + draw):
            interval = expected(section, one.labels).interval
            assert interval is not None
            held.append(interval[0] <= (one.labels[0].dice or 0) <= interval[1])
    rates = np.array(held).reshape(100, 10).mean(axis=1)
    assert rates.mean() >= 0.8 - 2 * rates.std(ddof=1) / 10
    assert rates.mean() < 0.95


def test_limits_by_hand() -> None:
    assert residual_limits(np.array([3.0, 1.0, 2.0]), 0.5) == (1, 3)
    assert residual_limits(np.array([3.0, 1.0, 2.0]), 0.4) == (1, 3)
    assert residual_limits(np.arange(9.0), 0.6) == (1, 7)


def test_a_coverage_lies_between_0_and_1() -> None:
    with pytest.raises(ValueError, match="the coverage is 1"):
        fit_quality([], coverage=1)
