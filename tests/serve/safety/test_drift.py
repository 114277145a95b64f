"""The drift alarm: a martingale that rarely cries, and does when it must."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.safety.drift import ALARM_LEVEL, DriftMonitor, Martingale


def test_the_first_bets_by_hand() -> None:
    martingale = Martingale()
    martingale.bet(0.1)
    assert martingale.capitals == pytest.approx(np.array([1.4, 1.0, 0.6]) / 3)
    martingale.bet(0.1)
    spread = 0.99 * np.array([1.4, 1.0, 0.6]) / 3 + 0.01 / 3
    assert martingale.capitals == pytest.approx(spread * np.array([1.4, 1.0, 0.6]))


def test_the_capital_is_fair() -> None:
    """Over a uniform p-value every bet keeps the capital on average."""
    before = Martingale((0.5, 0.2, 1.3))
    after = [Martingale(before.capitals).bet(p) for p in (np.arange(1000) + 0.5) / 1000]
    assert np.mean(after) == pytest.approx(before.capital)


def test_p_values_of_a_stream_without_change_are_uniform() -> None:
    """Ties included: scores are rounded coarsely."""
    random = np.random.default_rng(3)
    ps = []
    for seed in range(200):
        monitor = DriftMonitor(np.round(random.normal(size=20)), seed=seed)
        for score in np.round(random.normal(size=10)):
            ps.append(monitor._smoothed_p(score))
            monitor.observe(score)
    shares = np.histogram(ps, bins=10, range=(0, 1))[0] / len(ps)
    assert np.abs(shares - 0.1).max() < 4 * np.sqrt(0.09 / len(ps))


def test_few_false_alarms_however_few_calibration_cases() -> None:
    """60 streams of 1000; the bound allows 0.6 on average, ranking against the fixed cases gives dozens."""
    random = np.random.default_rng(11)
    alarms = 0
    for seed in range(60):
        monitor = DriftMonitor(random.normal(size=20), seed=seed)
        for score in random.normal(size=1000):
            monitor.observe(score)
        alarms += monitor.alarm
    assert alarms <= 3


@pytest.mark.parametrize("shift", [1.5, -1.5])
def test_a_change_is_seen_in_either_direction(shift: float) -> None:
    random = np.random.default_rng(7)
    monitor = DriftMonitor(random.normal(size=100), seed=1)
    for score in random.normal(size=100):
        monitor.observe(score)
    assert not monitor.alarm
    for score in random.normal(shift, size=150):
        monitor.observe(score)
    assert monitor.alarm


def test_an_alarm_stays() -> None:
    monitor = DriftMonitor(np.zeros(10) - np.arange(10), seed=0, highest=ALARM_LEVEL)
    assert monitor.observe(-5.0).alarm


def test_a_stream_goes_on_after_a_restart() -> None:
    scores = np.round(np.random.default_rng(4).normal(size=30), 1)
    whole = DriftMonitor(scores[:10], seed=5)
    for score in scores[10:]:
        whole.observe(score)
    first = DriftMonitor(scores[:10], seed=5)
    for score in scores[10:20]:
        first.observe(score)
    second = DriftMonitor(first.ascending, 5, first.martingale, first.highest, first.served)
    for score in scores[20:]:
        second.observe(score)
    assert second.martingale == whole.martingale


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        DriftMonitor([1.0], seed=0).observe(np.nan)
    with pytest.raises(ValueError, match="NaN"):
        DriftMonitor([np.nan], seed=0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        Martingale().bet(1.5)
