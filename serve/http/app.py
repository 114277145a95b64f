"""The application factory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from .handlers import add_handlers
from .middleware import RequestContext
from .models import Models
from .openapi import describe
from .routes import health, models, segment
from .runtime import openers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from .engine import Opener
    from .settings import Settings


def create_app(settings: Settings, *, engines: Mapping[str, Opener] | None = None) -> FastAPI:
    """Build the service. Nothing is read before the application starts, and nothing is global.

    Args:
        settings: what the operator decided.
        engines: functions that open a model each, by label; None opens ``settings.bundles``.

    Returns:
        The application. While it starts, models are opened and tested in a thread: ``/v2/health/live``
        answers at once, ``/v2/health/ready`` when every golden self-test has passed.

    Raises:
        ValueError: there is nothing to serve.

    Example:
        >>> from nnunet_losses.serve.http.settings import Settings
        >>> app = create_app(Settings(bundles=["model.bundle"]))
        >>> app.state.models.are_ready
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
    app.state.models = Models(openers(settings) if engines is None else engines, settings)
    app.add_middleware(RequestContext)
    add_handlers(app)
    for routes in (health, models, segment):
        app.include_router(routes.router)
    describe(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    models: Models = app.state.models
    opening = asyncio.create_task(models.open_all())
    try:
        yield
    finally:
        opening.cancel()
        models.stop()
        await asyncio.wait({opening})
