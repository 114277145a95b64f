"""What the tests of the queue share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.jobs.errors import JobCode, JobRefusal
from nnunet_losses.serve.jobs.limits import QueueLimits
from nnunet_losses.serve.jobs.records import Submission

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from nnunet_losses.serve.jobs.queue import JobQueue

LIMITS = QueueLimits(
    max_queued=6, max_per_caller=4, lease_seconds=30, run_seconds=600, retention_seconds=1000, retry_after=7
)


class FakeClock:
    """Seconds since 1970 that pass when a test says so."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        self.time += seconds


def submission(caller: str = "ann", **values: Any) -> Submission:
    return Submission.model_validate({"caller": caller, "request_sha256": "a" * 64, **values})


def submit(queue: JobQueue, caller: str = "ann", **values: Any) -> str:
    return queue.submit(submission(caller, **values)).job.id


def refused(code: JobCode) -> AbstractContextManager[pytest.ExceptionInfo[JobRefusal]]:
    """Expect a refusal with this code, that says what to do."""
    return pytest.raises(JobRefusal, check=lambda refusal: refusal.code is code and bool(refusal.remedy))
