"""The drift of served cases in the database: the monitor's own numbers, once for each job."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.jobs.drift import DriftState, DriftStream, drift_states, observe, register
from nnunet_losses.serve.jobs.leases import LeaseDesk
from nnunet_losses.serve.safety.drift import ALARM_LEVEL, DriftMonitor

from .helpers import LIMITS, submit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nnunet_losses.serve.jobs.queue import JobQueue


def stream(seed: int = 0, calibration: str = "11") -> DriftStream:
    scores = np.random.default_rng(seed).normal(size=40).round(1)  # rounded: there are ties
    return DriftStream(
        model="liver", bundle_sha256="00", calibration_sha256=calibration, scores=tuple(scores.tolist())
    )


def take(database: Database, known: DriftStream, scores: Iterable[float]) -> DriftState:
    state = None
    for score in scores:
        with database.writing() as connection:
            state = observe(connection, known.id, float(score))
    assert state is not None
    return state


def states(database: Database) -> tuple[DriftState, ...]:
    with database.reading() as connection:
        return drift_states(connection)


def test_it_is_the_monitor_number_for_number(database: Database) -> None:
    known = stream()
    register(database, known)
    served = np.random.default_rng(1).normal(0.5, size=60).round(1)
    monitor = DriftMonitor(known.scores, seed=int(known.id[:8], 16))
    for number, score in enumerate(served, start=1):
        monitor.observe(float(score))
        state = take(database, known, [score])
        assert (state.served, state.calibrated) == (number, 40)
        assert state.capital == pytest.approx(monitor.martingale.capital, rel=1e-12)
        assert state.highest == pytest.approx(monitor.highest, rel=1e-12)


def test_strange_cases_raise_an_alarm_that_stays(database: Database) -> None:
    known = stream()
    register(database, known)
    state = take(database, known, [5.0] * 60)
    assert (state.alarm, state.alarm_level) == (True, ALARM_LEVEL)
    later = take(database, known, np.random.default_rng(2).normal(5, 1, size=150))
    assert later.alarm
    assert later.highest >= state.highest


def test_usual_cases_raise_none(database: Database) -> None:
    known = stream()
    register(database, known)
    assert not take(database, known, np.random.default_rng(3).normal(size=200).round(1)).alarm


def test_it_survives_and_is_shared(url: str) -> None:
    known = stream()
    first, second = Database(url, patience=300), Database(url, patience=300)
    register(first, known)
    register(second, known)  # the second server opens the same model
    threads = [
        threading.Thread(target=take, args=(database, known, np.linspace(-2, 2, 15)))
        for database in (first, second)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.close()
    (before,) = states(second)
    second.close()
    again = Database(url)
    register(again, known)
    assert states(again) == (before,)
    assert before.served == 30
    again.close()


def test_another_calibration_begins_anew(database: Database) -> None:
    for calibration in ("11", "22"):
        register(database, stream(calibration=calibration))
        take(database, stream(calibration=calibration), [9.0])
    assert [(state.calibration_sha256, state.served) for state in states(database)] == [("11", 1), ("22", 1)]


def test_each_succeeded_job_counts_once(database: Database, queue: JobQueue) -> None:
    desk, known = LeaseDesk(database, LIMITS), stream()
    register(database, known)
    result = {"outcome": "segmented", "drift": {"stream": known.id, "score": 1.5}}
    submit(queue)
    desk.succeed(desk.claim("worker").lease, (), result=result)
    cancelled = submit(queue)
    claim = desk.claim("worker")
    queue.cancel(cancelled)
    desk.succeed(claim.lease, (), result=result)
    assert [state.served for state in states(database)] == [1]


def test_what_has_no_rank_is_left_out(database: Database) -> None:
    known = stream()
    register(database, known)
    with database.writing() as connection:
        assert observe(connection, known.id, float("nan")) is None
        assert observe(connection, known.id, float("-inf")) is None
        assert observe(connection, "0" * 32, 1.0) is None
    assert states(database)[0].served == 0
    wrong = DriftStream(model="m", bundle_sha256="0", calibration_sha256="1", scores=(1.0, float("inf")))
    with pytest.raises(ValueError, match="not finite"):
        register(database, wrong)
    with pytest.raises(ValueError, match="at least 1"):
        DriftStream(model="m", bundle_sha256="0", calibration_sha256="1", scores=())
