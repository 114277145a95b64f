"""The running service as figures see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .service_metrics import ModelFacts

if TYPE_CHECKING:
    from nnunet_losses.serve.jobs.database import Database

    from ..job_service import JobService


class ServiceView:
    """``Observed`` of a ``JobService``."""

    def __init__(self, jobs: JobService) -> None:
        self._jobs = jobs

    def database(self) -> Database | None:
        """The jobs; None before the service has started."""
        return self._jobs.ground.database if self._jobs.is_open else None

    def models(self) -> list[ModelFacts]:
        """All models, with their present state."""
        return [
            ModelFacts(report.name, report.version, report.sha256, report.provider, report.state.value)
            for report in self._jobs.catalogue
        ]

    def worker_restarts(self) -> int:
        """How often a worker process was started again."""
        return self._jobs.worker_restarts
