"""The application factory."""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from nnunet_losses.serve.dicomweb import Archives
from nnunet_losses.serve.workers.supervisor import Supervisor
from nnunet_losses.serve.workers.threads import Threads

from .archive_settings import archive_list
from .handlers import add_handlers
from .job_service import JobService
from .middleware import RequestContext
from .observability.middleware import Observation
from .observability.request_metrics import RequestMetrics
from .observability.service_metrics import ServiceCollector
from .observability.service_view import ServiceView
from .openapi import describe
from .routes import archives, health, jobs, models, page, segment
from .routes.metrics import router as metrics_router
from .security.gate import Gate
from .security.headers import SecurityHeaders
from .worker_plans import worker_plans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from nnunet_losses.serve.workers.engine import Opener
    from nnunet_losses.serve.workers.predictors import Predictors

    from .observability.telemetry import Telemetry
    from .settings import Settings


def create_app(
    settings: Settings,
    *,
    engines: Mapping[str, Opener] | None = None,
    predictors: Predictors | None = None,
) -> FastAPI:
    """Build the service. Nothing is read before the application starts, and nothing is global.

    Args:
        settings: what the operator decided.
        engines: functions that open a model each, by label, to be run in a thread of this process.
        predictors: who runs the jobs, instead; None starts worker processes for ``settings.bundles``.

    Returns:
        The application. While it starts, the workers open and test the models: ``/v2/health/live``
        answers at once, ``/v2/health/ready`` when every golden self-test has passed.

    Raises:
        ValueError: there is nothing to serve.

    Example:
        >>> from nnunet_losses.serve.http.settings import Settings
        >>> app = create_app(Settings(bundles=["model.bundle"]))
        >>> app.state.jobs.is_ready
        False
    """
    app = FastAPI(
        title="nnunet-losses",
        version=version("nnunet-losses"),
        description="Segmentation of medical images: a mask, and an honest statement about it.",
        lifespan=_lifespan,
        docs_url=None,  # the interactive pages load scripts from other hosts
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.jobs = JobService(settings, predictors or _predictors(settings, engines))
    app.state.telemetry = _telemetry(settings)
    guard(app, settings, telemetry=app.state.telemetry)
    app.state.metrics.registry.register(ServiceCollector(ServiceView(app.state.jobs)))
    add_handlers(app)
    for routes in (health, models, archives, segment, jobs, page):
        app.include_router(routes.router)
    app.include_router(metrics_router)
    describe(app)
    return app


def _predictors(settings: Settings, engines: Mapping[str, Opener] | None) -> Predictors:
    if engines is not None:
        return Threads(engines, archives=Archives(archive_list(settings)))
    return Supervisor(worker_plans(settings))


def _telemetry(settings: Settings) -> Telemetry | None:
    if not settings.telemetry:
        return None
    from .observability.telemetry import Telemetry  # noqa: PLC0415 - an extra that few install

    return Telemetry()


def guard(app: FastAPI, settings: Settings, *, telemetry: Telemetry | None = None) -> None:
    """Stand before all routes; who was added last is met first."""
    app.state.metrics = RequestMetrics()
    app.add_middleware(Gate, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Prefer", "X-Request-ID"],
            expose_headers=["Content-Location", "ETag", "Location", "Retry-After", "X-Request-ID"],
            max_age=600,
        )
    app.add_middleware(RequestContext)
    app.add_middleware(Observation, metrics=app.state.metrics, telemetry=telemetry)
    app.add_middleware(SecurityHeaders, shares=bool(settings.cors_origins))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: JobService = app.state.jobs
    async with service.running():
        yield
    if app.state.telemetry is not None:
        await run_sync(app.state.telemetry.close)
