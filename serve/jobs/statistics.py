"""Counts that outlive their jobs, for metrics: written with the end of a job, hence exactly once for each.

Workers are processes that come and go, on several machines: what they have done is counted in the database,
and a server reads it when somebody asks for metrics.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import insert, select, update

from .drift import observe
from .states import JobState
from .tables import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from .records import Job

ENDS, FAILURES, OUTCOMES, VERDICTS, REJECTIONS = "ends", "failures", "outcomes", "verdicts", "rejections"
STAGE_BUCKETS, STAGE_SUM = "stage_buckets", "stage_sum"
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0)  # seconds
BEYOND = "+Inf"
_LONGEST = 128  # of a label's value: names of models and codes, never anything of a case


class Statistic(NamedTuple):
    """One count, with what it counts."""

    name: str
    labels: Mapping[str, str]
    value: float


def count_end(connection: Connection, job: Job, state: JobState, values: Mapping[str, Any]) -> None:
    """Count a job that is over.

    Args:
        connection: of the transaction that ends it.
        job: as it was before.
        state: how it ends.
        values: what is written with it: ``failure`` of a failed job; ``result`` of one that succeeded, with
            ``outcome``, ``verdict``, ``problem``, ``seconds`` by stage, and ``drift`` with its ``stream`` and
            ``score``, as far as they are known.
    """
    model = _word(job.parameters.get("model"))
    add(connection, ENDS, {"model": model, "state": state.value})
    if state is JobState.FAILED:
        code = _word((values.get("failure") or {}).get("code"))
        add(connection, FAILURES, {"model": model, "code": code})
    result = values.get("result") or {}
    if state is not JobState.SUCCEEDED or not result:
        return
    add(connection, OUTCOMES, {"model": model, "outcome": _word(result.get("outcome"))})
    add(connection, VERDICTS, {"model": model, "verdict": _word(result.get("verdict"))})
    if result.get("problem"):
        add(connection, REJECTIONS, {"model": model, "code": _word(result["problem"].get("code"))})
    for stage, seconds in (result.get("seconds") or {}).items():
        _count_seconds(connection, float(seconds), {"model": model, "stage": _word(stage)})
    if result.get("drift"):
        observe(connection, result["drift"]["stream"], float(result["drift"]["score"]))


def _count_seconds(connection: Connection, seconds: float, labels: dict[str, str]) -> None:
    bound = next((str(bound) for bound in BOUNDS if seconds <= bound), BEYOND)
    add(connection, STAGE_BUCKETS, labels | {"bound": bound})
    add(connection, STAGE_SUM, labels, seconds)


def add(connection: Connection, name: str, labels: Mapping[str, str], amount: float = 1.0) -> None:
    """Raise one count. Writers follow each other, so that looking first is safe."""
    key = json.dumps(labels, sort_keys=True)
    here = (STATISTICS.c.name == name) & (STATISTICS.c.labels == key)
    change = update(STATISTICS).where(here).values(value=STATISTICS.c.value + amount)
    if connection.execute(change).rowcount == 0:
        connection.execute(insert(STATISTICS).values(name=name, labels=key, value=amount))


def read_statistics(connection: Connection) -> tuple[Statistic, ...]:
    """Read all counts."""
    rows = connection.execute(select(STATISTICS).order_by(STATISTICS.c.name, STATISTICS.c.labels))
    return tuple(Statistic(row.name, json.loads(row.labels), row.value) for row in rows)


def _word(value: Any) -> str:
    return str(value)[:_LONGEST] if value is not None else "unknown"
