"""The figures that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nnunet_losses.serve.http.observability.service_metrics import ModelFacts, ServiceCollector
from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.jobs.drift import DriftStream, register
from nnunet_losses.serve.jobs.errors import JobCode, JobRefusal
from nnunet_losses.serve.jobs.leases import LeaseDesk
from nnunet_losses.serve.jobs.queue import JobQueue
from nnunet_losses.serve.jobs.records import Failure, Submission

from ...jobs.helpers import FakeClock
from ..security.gates import Guarded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAM = DriftStream(
    model="liver", bundle_sha256="ab" * 32, calibration_sha256="cd" * 32, scores=tuple(range(20))
)


class Observed:
    """A service at rest."""

    def __init__(self, database: Database | None) -> None:
        self._database = database

    def database(self) -> Database | None:
        return self._database

    def models(self) -> list[ModelFacts]:
        return [
            ModelFacts("liver", "2", "ab" * 32, "CPUExecutionProvider", "ready"),
            ModelFacts("brain", None, None, None, "loading"),
        ]

    def worker_restarts(self) -> int:
        return 3


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(tmp_path: Path, clock: FakeClock) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/jobs.sqlite", clock=clock)
    yield opened
    opened.close()


def figures(observed: Observed) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(ServiceCollector(observed))
    return parsed(generate_latest(registry).decode())


def parsed(text: str) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels."""
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {
        (
            sample.name.removeprefix("nnunet_losses_"),
            *(sample.labels[key] for key in sorted(sample.labels)),
        ): (sample.value)
        for sample in samples
    }


def submitted(database: Database) -> Any:
    JobQueue(database).submit(
        Submission(caller="ann", request_sha256="0" * 64, parameters={"model": "liver"})
    )
    return LeaseDesk(database).claim("worker").lease


def test_jobs_are_told_from_the_database(database: Database, clock: FakeClock) -> None:
    register(database, STREAM)
    desk = LeaseDesk(database)
    result = {
        "outcome": "empty",
        "verdict": "suspicious",
        "seconds": {"network": 0.2},
        "drift": {"stream": STREAM.id, "score": 30.0},
    }
    desk.succeed(submitted(database), (), result=result)
    desk.succeed(submitted(database), (), result=result | {"seconds": {"network": 7.0}})
    desk.fail(submitted(database), Failure(code="gpu.oom", detail="", remedy=""))
    JobQueue(database).submit(Submission(caller="ann", request_sha256="0" * 64))
    clock.advance(7)
    found = figures(Observed(database))
    expected = {
        ("database_up",): 1,
        ("worker_restarts_total",): 3,
        ("jobs", "queued"): 1,
        ("jobs", "succeeded"): 2,
        ("jobs_accepted_total",): 4,
        ("jobs_requeued_total",): 0,
        ("jobs_ended_total", "liver", "succeeded"): 2,
        ("jobs_failed_total", "gpu.oom", "liver"): 1,
        ("outcomes_total", "liver", "empty"): 2,
        ("verdicts_total", "liver", "suspicious"): 2,
        ("queue_length",): 1,
        ("queue_callers",): 1,
        ("stage_seconds_count", "liver", "network"): 2,
        ("stage_seconds_sum", "liver", "network"): pytest.approx(7.2),
        ("stage_seconds_bucket", "0.1", "liver", "network"): 0,
        ("stage_seconds_bucket", "0.25", "liver", "network"): 1,
        ("stage_seconds_bucket", "10.0", "liver", "network"): 2,
        ("stage_seconds_bucket", "+Inf", "liver", "network"): 2,
        ("drift_cases", "cd" * 6, "liver"): 2,
        ("drift_alarm", "cd" * 6, "liver"): 0,
        ("model_info", "liver", "CPUExecutionProvider", "ab" * 32, "ready", "2"): 1,
        ("model_ready", "brain", ""): 0,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["drift_capital", "cd" * 6, "liver"] > 0
    assert found["queue_oldest_seconds",] == 7


def test_a_new_server_has_figures(database: Database) -> None:
    found = figures(Observed(database))
    assert (found["jobs_accepted_total",], found["queue_oldest_seconds",]) == (0, 0)
    assert not any(name.startswith("drift_") for name, *_ in found)


def test_a_silent_database_is_a_figure(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise JobRefusal(JobCode.STORAGE_BUSY, "It is locked.", remedy="Wait.")

    monkeypatch.setattr(JobQueue, "counts", fail)
    for observed in (Observed(database), Observed(None)):
        found = figures(observed)
        assert found["database_up",] == 0
        assert found["model_ready", "liver", "2"] == 1
        assert ("queue_length",) not in found


def test_requests_are_counted_by_template_and_status() -> None:
    guarded = Guarded()
    guarded.ask("GET", "/v1/models")
    guarded.ask("GET", "/v1/models?JaneDoe1971")
    guarded.ask("POST", "/v1/jobs", headers={"Origin": "https://evil.example"})
    guarded.ask("BREW", "/JaneDoe1971")
    text = generate_latest(guarded.app.state.metrics.registry).decode()
    found = parsed(text)
    assert found["http_requests_total", "GET", "/{path:path}", "200"] == 2
    assert found["http_requests_total", "POST", "unmatched", "403"] == 1
    assert found["http_request_seconds_count", "GET", "/{path:path}"] == 2
    assert found["uploads_rejected_total", "request.origin"] == 1
    assert found["http_requests_in_flight",] == 0
    assert any(key[:2] == ("http_requests_total", "other") for key in found)
    assert "JaneDoe1971" not in text


def test_servers_do_not_share_counters() -> None:
    first, second = Guarded(), Guarded()
    first.ask()
    assert "http_requests_total{" not in generate_latest(second.app.state.metrics.registry).decode()
