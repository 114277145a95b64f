"""Figures for Prometheus."""

from anyio.to_thread import run_sync
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

router = APIRouter(tags=["health"])


@router.get("/metrics", include_in_schema=False, response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures in Prometheus' text format. They need the scope `metrics` where callers authenticate."""
    content = await run_sync(generate_latest, request.app.state.metrics.registry)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})
