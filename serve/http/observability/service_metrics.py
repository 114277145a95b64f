"""Figures of the whole service, read when somebody asks: from the jobs' database and from the models.

Several servers on one database show the same figures of jobs; add up requests, but not these.
"""

from __future__ import annotations

from collections import defaultdict
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from nnunet_losses.serve.jobs.drift import drift_states
from nnunet_losses.serve.jobs.errors import JobRefusal
from nnunet_losses.serve.jobs.queue import JobQueue
from nnunet_losses.serve.jobs.states import JobState
from nnunet_losses.serve.jobs.statistics import (
    BEYOND,
    BOUNDS,
    ENDS,
    FAILURES,
    OUTCOMES,
    REJECTIONS,
    STAGE_BUCKETS,
    STAGE_SUM,
    VERDICTS,
    read_statistics,
)

from ..logs import log_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from nnunet_losses.serve.jobs.database import Database
    from nnunet_losses.serve.jobs.drift import DriftState
    from nnunet_losses.serve.jobs.records import QueueCounts
    from nnunet_losses.serve.jobs.statistics import Statistic

_PREFIX = "nnunet_losses"
_QUEUED = JobState.QUEUED
_COUNTERS = {
    ENDS: ("jobs_ended", "Jobs that are over, by state."),
    FAILURES: ("jobs_failed", "Jobs that failed, by code."),
    OUTCOMES: ("outcomes", "Answers, by outcome."),
    VERDICTS: ("verdicts", "Answers, by verdict about the image."),
    REJECTIONS: ("rejections", "Images that were rejected, by code."),
}
_TOTALS = {
    "accepted": ("jobs_accepted", "Jobs that were accepted."),
    "requeued": (
        "jobs_requeued",
        "Jobs that a worker gave back, or was lost with.",
    ),
}


class ModelFacts(NamedTuple):
    """What figures say of a model."""

    name: str
    version: str | None
    sha256: str | None
    provider: str | None
    state: str


class Observed(Protocol):
    """The running service, as far as figures need it."""

    def database(self) -> Database | None:
        """The jobs; None before the service has started."""

    def models(self) -> Sequence[ModelFacts]:
        """All models, with their present state."""

    def worker_restarts(self) -> int:
        """How often a worker process was started again."""


class ServiceCollector:
    """Reads all figures at once; a database that does not answer is one of them, instead of the rest."""

    def __init__(self, observed: Observed) -> None:
        self._observed = observed

    def collect(self) -> Iterator[Metric]:
        """Give all figures."""
        build = GaugeMetricFamily(f"{_PREFIX}_build_info", "The program.", labels=["version"])
        build.add_metric([version("nnunet-losses")], 1)
        yield build
        yield from _of_models(self._observed.models())
        yield CounterMetricFamily(
            f"{_PREFIX}_worker_restarts",
            "Worker processes that were started again.",
            value=self._observed.worker_restarts(),
        )
        yield from self._of_database()

    def _of_database(self) -> Iterator[Metric]:
        database = self._observed.database()
        try:
            found = [] if database is None else [*_of_jobs(database)]
        except JobRefusal as refusal:
            log_event("metrics.storage", code=refusal.code.value)
            found = []
        yield GaugeMetricFamily(
            f"{_PREFIX}_database_up", "Whether the jobs' database answers.", value=int(bool(found))
        )
        yield from found


def _of_models(models: Iterable[ModelFacts]) -> Iterator[Metric]:
    labels = ["model", "version", "sha256", "provider", "state"]
    info = GaugeMetricFamily(f"{_PREFIX}_model_info", "Models, and what they run on.", labels=labels)
    ready = GaugeMetricFamily(f"{_PREFIX}_model_ready", "Whether the model answers.", labels=labels[:2])
    for model in models:
        info.add_metric([str(value or "") for value in model], 1)
        ready.add_metric([model.name, model.version or ""], int(model.state == "ready"))
    yield from (info, ready)


def _of_jobs(database: Database) -> Iterator[Metric]:
    counts = JobQueue(database).counts()
    with database.reading() as connection:
        statistics, drift = read_statistics(connection), drift_states(connection)
    yield from _of_queue(counts)
    yield from _of_statistics(statistics)
    yield _of_stages(statistics)
    yield from _of_drift(drift)


def _of_queue(counts: QueueCounts) -> Iterator[Metric]:
    jobs = GaugeMetricFamily(f"{_PREFIX}_jobs", "Jobs that are kept, by state.", labels=["state"])
    for state, number in counts.by_state.items():
        jobs.add_metric([state.value], number)
    yield jobs
    for total, (name, text) in _TOTALS.items():
        yield CounterMetricFamily(f"{_PREFIX}_{name}", text, value=counts.totals.get(total, 0))
    gauges = {
        "queue_length": ("Jobs that wait.", counts.by_state.get(_QUEUED, 0)),
        "queue_oldest_seconds": ("How long the oldest waiting job has waited.", counts.queue_age),
        "queue_callers": ("Callers with waiting jobs.", counts.callers_waiting),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value=value)


def _of_statistics(statistics: Sequence[Statistic]) -> Iterator[Metric]:
    for kind, (name, text) in _COUNTERS.items():
        found = [statistic for statistic in statistics if statistic.name == kind]
        if not found:
            continue
        labels = sorted(found[0].labels)
        family = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=labels)
        for statistic in found:
            family.add_metric([statistic.labels[label] for label in labels], statistic.value)
        yield family


def _of_stages(statistics: Sequence[Statistic]) -> Metric:
    """Rebuild the histogram: the database counts each bucket alone, Prometheus wants them added up."""
    family = HistogramMetricFamily(
        f"{_PREFIX}_stage_seconds", "How long the stages of a job took.", labels=["model", "stage"]
    )
    counts: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    sums: dict[tuple[str, str], float] = {}
    for statistic in statistics:
        if statistic.name in {STAGE_BUCKETS, STAGE_SUM}:
            key = statistic.labels["model"], statistic.labels["stage"]
            if statistic.name == STAGE_SUM:
                sums[key] = statistic.value
            else:
                counts[key][statistic.labels["bound"]] = statistic.value
    for key, found in counts.items():
        family.add_metric(list(key), buckets=_added_up(found), sum_value=sums.get(key, 0.0))
    return family


def _added_up(counts: dict[str, float]) -> list[tuple[str, float]]:
    total, buckets = 0.0, []
    for bound in (*map(str, BOUNDS), BEYOND):
        total += counts.get(bound, 0.0)
        buckets.append((bound, total))
    return buckets


def _of_drift(states: Iterable[DriftState]) -> Iterator[Metric]:
    labels = ["model", "calibration"]
    families = {
        "capital": "Evidence that served cases are unlike the calibration's; 1 at the start.",
        "highest": "Highest evidence so far.",
        "alarm": "Whether the evidence has ever reached the alarm level.",
        "cases": "Served cases that were taken in.",
    }
    gauges = {
        name: GaugeMetricFamily(f"{_PREFIX}_drift_{name}", text, labels=labels)
        for name, text in families.items()
    }
    for state in states:
        values = (state.capital, state.highest, int(state.alarm), state.served)
        for gauge, value in zip(gauges.values(), values, strict=True):
            gauge.add_metric([state.model, state.calibration_sha256[:12]], value)
    yield from gauges.values()
