"""Spans of jobs: how long each waited, and what its stages took. They belong to the request's trace."""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind

from ..jobs.states import JobState
from ..spans import Place, Span, Spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..jobs.records import Job

_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_STAGES = {"read": "decode"}  # as tracing calls it; the others are called alike


class JobSpans:
    """Exports the spans of each attempt when it is over.

    ``job`` stands below the request that submitted it, and is linked to it; ``queue`` and the stages stand
    below ``job``. Stages that take turns, as network and stitching, are drawn one after the other: their
    lengths are exact, their places are not. Attributes are ids, states, codes and names of models.

    Args:
        spans: where they go; None sends them by OTLP.
    """

    def __init__(self, spans: Spans | None = None) -> None:
        self._spans = spans or Spans()
        self._stage: dict[str, str] = {}

    def moved(self, job: Job) -> None:
        """Note the stage that a running job is in."""
        if job.progress is not None:
            self._stage = {job.id: job.progress.stage}

    def ended(self, job: Job) -> None:
        """Export an attempt: the job as it is afterwards, finished or back in the queue."""
        place, now = _place_of(job), job.finished or time.time()
        started = job.started or now
        is_first = job.attempt <= 1
        self._spans.export(
            Span(
                "job",
                place,
                job.created if is_first else started,
                now,
                SpanKind.CONSUMER,
                self._attributes(job),
                failed=job.state is JobState.FAILED,
                caused_by=place.parent_id,
            )
        )
        if is_first:
            self._spans.export(Span("queue", _below(place), job.created, started))
        for span in _stages(job, place, started):
            self._spans.export(span)

    def _attributes(self, job: Job) -> dict[str, str | int]:
        found: dict[str, str | int] = {
            "nnunet_losses.job.id": job.id,
            "nnunet_losses.job.state": job.state.value,
            "nnunet_losses.job.attempt": job.attempt,
            "nnunet_losses.model": str(job.parameters.get("model", "")),
        }
        if job.failure is not None:
            found |= {"error.type": job.failure.code}
        if job.state is not JobState.SUCCEEDED and job.id in self._stage:
            found["nnunet_losses.job.stage"] = self._stage[job.id]
        return found

    def close(self) -> None:
        """Send what is left."""
        self._spans.close()


def _place_of(job: Job) -> Place:
    """Go on with the request's trace; begin one where none was stored."""
    match = _PARENT.fullmatch(job.traceparent or "")
    span_id = secrets.token_hex(8)
    if match is None:
        return Place(secrets.token_hex(16), span_id)
    return Place(match[1], span_id, match[2], is_remote=True)


def _below(place: Place) -> Place:
    return Place(place.trace_id, secrets.token_hex(8), place.span_id)


def _stages(job: Job, place: Place, started: float) -> Iterator[Span]:
    seconds: Any = (job.result or {}).get("seconds") or {}
    for stage, taken in seconds.items():
        yield Span(_STAGES.get(stage, stage), _below(place), started, started + float(taken))
        started += float(taken)
