"""What an operator decides about the queue."""

from __future__ import annotations

from pydantic import Field

from ..schema import Frozen


class QueueLimits(Frozen):
    """Bounds of a queue; all servers and workers on one database should agree. Times are seconds."""

    max_queued: int = Field(default=64, ge=1)
    max_per_caller: int = Field(default=16, ge=1)  # queued and running
    max_attempts: int = Field(default=2, ge=1)  # a lost worker's job runs once more
    max_parameter_bytes: int = Field(default=65536, ge=2)
    lease_seconds: float = Field(default=30, gt=0)
    run_seconds: float = Field(default=3600, gt=0)  # an attempt that takes longer fails
    retention_seconds: float = Field(default=24 * 3600, ge=0)  # of finished jobs and their artifacts
    retry_after: int = Field(default=10, ge=1)  # advice as long as no job has shown how long one takes
