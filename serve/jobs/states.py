"""The states of a job, and which may follow which."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from .errors import JobCode, JobRefusal

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return not TRANSITIONS[self]


# A running job returns to the queue when its worker is lost or drained.
TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
        JobState.RUNNING: frozenset(
            {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
        ),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)
FINAL = tuple(state for state in JobState if state.is_final)


def check_transition(before: JobState, after: JobState) -> None:
    """Refuse a change of state that the table does not hold.

    Raises:
        JobRefusal: ``job.transition``.

    Example:
        >>> check_transition(JobState.QUEUED, JobState.RUNNING)
        >>> check_transition(JobState.QUEUED, JobState.FAILED)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        nnunet_losses.serve.jobs.errors.JobRefusal: A queued job cannot become failed, only cancelled or ...
    """
    allowed = sorted(TRANSITIONS[before])
    if after in allowed:
        return
    raise JobRefusal(
        JobCode.JOB_TRANSITION,
        f"A {before} job cannot become {after}, only {' or '.join(allowed)}."
        if allowed
        else f"A {before} job is finished and cannot become {after}.",
        remedy="Read the job's state again." if allowed else "Submit a new job.",
        observed=after.value,
        expected=[state.value for state in allowed],
    )
