"""What is refused about jobs. Codes are stable, as those of ``serve/errors.py``."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class JobCode(StrEnum):
    """Stable codes of refusals and failures of jobs."""

    # what a client is told
    JOB_UNKNOWN = "job.unknown"
    JOB_FINISHED = "job.finished"
    EVENTS_UNKNOWN = "job.events_unknown"
    IDEMPOTENCY_CONFLICT = "job.idempotency_conflict"
    PARAMETERS_TOO_LARGE = "job.parameters_too_large"
    QUEUE_FULL = "queue.full"
    QUEUE_QUOTA = "queue.quota"
    ARTIFACT_UNKNOWN = "artifact.unknown"
    ARTIFACT_DAMAGED = "artifact.damaged"
    # how a job ended
    WORKER_LOST = "worker.lost"
    JOB_TIMEOUT = "job.timeout"
    MODEL_UNAVAILABLE = "job.model_unavailable"
    JOB_INTERNAL = "job.internal"
    # what a worker's code did wrong, or learns too late
    ARTIFACT_INVALID = "artifact.invalid"
    PROGRESS_INVALID = "job.progress_invalid"
    JOB_TRANSITION = "job.transition"
    LEASE_LOST = "lease.lost"
    # the ground under it
    STORAGE_FULL = "storage.full"
    STORAGE_BUSY = "storage.busy"
    STORAGE_UNAVAILABLE = "storage.unavailable"
    STORAGE_SCHEMA = "storage.schema"
    STORAGE_URL = "storage.url"


class JobRefusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault of the program
    """Something about a job that is not done, and why.

    Args:
        code: what kind of refusal, stable.
        detail: what was seen and what was expected, in a sentence, without file system paths.
        remedy: what can be done about it.
        retry_after: seconds after which the same call may succeed, where waiting helps.
        observed: the value that was seen, JSON-serialisable.
        expected: the value that was expected, JSON-serialisable.

    Example:
        >>> refusal = JobRefusal(JobCode.QUEUE_FULL, "8 jobs wait.", remedy="Try later.", retry_after=12)
        >>> refusal.code.value, refusal.retry_after, str(refusal)
        ('queue.full', 12, '8 jobs wait. Try later.')
    """

    def __init__(
        self,
        code: JobCode,
        detail: str,
        *,
        remedy: str,
        retry_after: int | None = None,
        observed: Any = None,
        expected: Any = None,
    ) -> None:
        super().__init__(f"{detail} {remedy}")
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.retry_after = retry_after
        self.observed = observed
        self.expected = expected
