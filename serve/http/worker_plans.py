"""From the operator's settings to the plans of worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_losses.serve.workers.devices import devices_of
from nnunet_losses.serve.workers.plan import WorkerPlan, served
from nnunet_losses.serve.workers.runtime import EngineSettings

from .archive_settings import archive_list

if TYPE_CHECKING:
    from .settings import Settings


def worker_plans(settings: Settings) -> tuple[WorkerPlan, ...]:
    """One plan for each device."""
    engine = EngineSettings(
        backend=settings.backend,
        precision=settings.precision,
        threads=settings.threads,
        ood=settings.ood,
        empty=settings.empty,
    )
    limits = settings.queue_limits(retry_after=settings.retry_after)
    archives = archive_list(settings)
    return tuple(
        WorkerPlan(
            device=device,
            bundles=served(settings.bundles),
            engine=engine,
            limits=limits,
            archives=archives,
            grace=settings.shutdown_timeout,
            opening=settings.model_timeout,
            telemetry=settings.telemetry,
        )
        for device in settings.devices or devices_of(settings.backend)
    )
