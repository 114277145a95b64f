"""Counts that outlive their jobs, for metrics: written with the end of a job, hence exactly once for each.

Workers are processes that come and go, on several machines: what they have done is counted in the database,
and a server reads it when somebody asks for metrics.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from .drift import observe
from .states import JobState
from .tables import STATISTICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
    value: float = 1.0


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
    result = values.get("result") if state is JobState.SUCCEEDED else None
    add(connection, _amounts(_word(job.parameters.get("model")), state, values, result or {}))
    if result and result.get("drift"):
        observe(connection, result["drift"]["stream"], float(result["drift"]["score"]))


def _amounts(
    model: str, state: JobState, values: Mapping[str, Any], result: Mapping[str, Any]
) -> Iterator[Statistic]:
    """By how much the end of one job raises which counts."""
    yield Statistic(ENDS, {"model": model, "state": state.value})
    if state is JobState.FAILED:
        code = _word((values.get("failure") or {}).get("code"))
        yield Statistic(FAILURES, {"model": model, "code": code})
    if not result:
        return
    yield Statistic(OUTCOMES, {"model": model, "outcome": _word(result.get("outcome"))})
    yield Statistic(VERDICTS, {"model": model, "verdict": _word(result.get("verdict"))})
    if result.get("problem"):
        yield Statistic(REJECTIONS, {"model": model, "code": _word(result["problem"].get("code"))})
    for stage, seconds in (result.get("seconds") or {}).items():
        yield from _of_stage(float(seconds), {"model": model, "stage": _word(stage)})


def _of_stage(seconds: float, labels: dict[str, str]) -> Iterator[Statistic]:
    bound = next((str(bound) for bound in BOUNDS if seconds <= bound), BEYOND)
    yield Statistic(STAGE_BUCKETS, labels | {"bound": bound})
    yield Statistic(STAGE_SUM, labels, seconds)


def add(connection: Connection, amounts: Iterable[Statistic]) -> None:
    """Raise counts, all by one statement: the end of each job waits for it."""
    rows = [
        {"name": amount.name, "labels": json.dumps(amount.labels, sort_keys=True), "value": amount.value}
        for amount in amounts
    ]
    is_sqlite = connection.dialect.name == "sqlite"
    new = sqlite.insert(STATISTICS) if is_sqlite else postgresql.insert(STATISTICS)
    raised = {"value": STATISTICS.c.value + new.excluded.value}
    connection.execute(new.on_conflict_do_update(index_elements=["name", "labels"], set_=raised), rows)


def read_statistics(connection: Connection) -> tuple[Statistic, ...]:
    """Read all counts."""
    rows = connection.execute(select(STATISTICS).order_by(STATISTICS.c.name, STATISTICS.c.labels))
    return tuple(Statistic(row.name, json.loads(row.labels), row.value) for row in rows)


def _word(value: Any) -> str:
    return str(value)[:_LONGEST] if value is not None else "unknown"
