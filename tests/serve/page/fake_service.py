"""A service as the page meets it, of which the test decides how each job goes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from nnunet_losses.serve.answer import Answer
from nnunet_losses.serve.http.routes import page
from nnunet_losses.serve.http.security.headers import SecurityHeaders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

KEY = "a-secret-key"
TILES = 6
FINAL = frozenset({"succeeded", "failed", "cancelled"})


def model(**changes: Any) -> dict[str, Any]:
    """What GET /v1/models says of a model for volumes with one channel."""
    labels = [
        {"name": "Anterior", "channel": 1, "value": 1, "members": [1]},
        {"name": "Posterior", "channel": 2, "value": 2, "members": [2]},
    ]
    known = {
        "name": "hippocampus",
        "state": "ready",
        "failure": None,
        "dimension": 3,
        "file_ending": ".nii.gz",
        "parts": ["MRI"],
        "channels": [{"index": "0000", "name": "MRI", "normalization": "ZScoreNormalization"}],
        "labels": labels,
    }
    return known | changes


def answer(**changes: Any) -> dict[str, Any]:
    """An answer in which both labels are present, as the service would write it."""
    label = {"present": True, "voxels": 1200, "volume_ml": 1.2, "components": 1}
    manifest = {
        "model": "hippocampus",
        "bundle_sha256": "ab" * 32,
        "input_sha256": "cd" * 32,
        "mask_sha256": "ef" * 32,
        "versions": {"nnunet-losses": "0.1.0", "onnxruntime": "1.28"},
        "provider": "CPUExecutionProvider",
        "precision": "float32",
        "tiles": TILES,
        "forward_passes": TILES,
        "timings": {"read": 0.1, "network": 2.5},
    }
    known = {
        "answer_version": 1,
        "case": "case",
        "outcome": "segmented",
        "spacing": [1, 1, 1],
        "labels": [{"name": name, **label} for name in ("Anterior", "Posterior")],
        "manifest": manifest,
    }
    written: dict[str, Any] = Answer.model_validate(known | changes).model_dump(mode="json")
    return written


@dataclass
class FakeService:
    """What it will do, and what it was asked."""

    models: list[dict[str, Any]] = field(default_factory=lambda: [model()])
    answer: dict[str, Any] | None = field(default_factory=answer)
    problem: dict[str, Any] | None = None
    refusal: dict[str, Any] | None = None  # of the submission itself
    files: dict[str, tuple[str, str, bytes]] = field(
        default_factory=dict
    )  # kind -> name, media type, content
    tile_seconds: float = 0.005
    starts_when: Callable[[], bool] = lambda: True  # as long as not, the job waits in the queue
    tiles_allowed: int = TILES  # the job waits behind this one until the test allows more
    has_events: bool = True
    events_per_answer: int | None = None  # after which the connection breaks off
    wants_key: bool = False
    received: list[dict[str, Any]] = field(default_factory=list)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    polls: int = 0
    heard: list[str] = field(default_factory=list)  # Last-Event-ID of who listened

    def app(self) -> FastAPI:
        app = FastAPI()
        app.include_router(page.router)
        app.add_middleware(SecurityHeaders)
        for method, path, act in (
            ("GET", "/v1/models", self._models),
            ("POST", "/v1/jobs", self._submit),
            ("GET", "/v1/jobs/{job_id}", self._status),
            ("DELETE", "/v1/jobs/{job_id}", self._cancel),
            ("GET", "/v1/jobs/{job_id}/events", self._events),
            ("GET", "/v1/jobs/{job_id}/artifacts/{name}", self._artifact),
        ):
            app.add_api_route(path, act, methods=[method], response_model=None)
        return app

    async def _models(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"models": self.models})

    async def _submit(self, request: Request) -> Response:
        if refused := self._refused(request):
            return refused
        async with request.form() as form:
            parts = {
                name: value if isinstance(value, str) else value.filename
                for name, value in form.multi_items()
            }
        self.received.append(parts | {"Idempotency-Key": request.headers.get("Idempotency-Key")})
        if self.refusal is not None:
            return problem_response(self.refusal)
        job = {
            "id": secrets.token_hex(16),
            "state": "queued",
            "model": parts["model"],
            "position": 2,
            "attempt": 0,
            "progress": None,
            "outcome": None,
            "problem": None,
            "artifacts": [],
            "last_event": 0,
            "history": [],
        }
        self.jobs[job["id"]] = job
        job["task"] = asyncio.create_task(self._run(job))
        return JSONResponse(shown(job), 202, {"Location": f"/v1/jobs/{job['id']}"})

    async def _run(self, job: dict[str, Any]) -> None:
        await asyncio.sleep(self.tile_seconds)
        while job["state"] != "cancelled" and not self.starts_when():  # noqa: ASYNC110 - asks the test
            await asyncio.sleep(0.01)
        if job["state"] == "cancelled":
            return
        happened(job, "state", state="running", attempt=1, position=None)
        for stage, total in (("read", 1), ("preprocess", 1), ("network", TILES), ("write", 1)):
            for done in range(total + 1):
                while stage == "network" and done > self.tiles_allowed:  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(0.01)
                happened(job, "progress", progress={"stage": stage, "done": done, "total": total})
                await asyncio.sleep(self.tile_seconds)
                if job["state"] == "cancelled":
                    return
        if self.answer is None:
            job |= {"state": "failed", "problem": self.problem}
            return
        files = {
            "answer": ("answer.json", "application/json", json.dumps(self.answer).encode()),
            **self.files,
        }
        url = f"/v1/jobs/{job['id']}/artifacts"
        job["artifacts"] = [
            {
                "name": kind,
                "media_type": media,
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "url": f"{url}/{kind}",
            }
            for kind, (_, media, content) in files.items()
        ]
        job |= {"state": "succeeded", "outcome": self.answer["outcome"], "files": files}

    async def _status(self, job_id: str, request: Request) -> Response:
        self.polls += 1
        if job_id not in self.jobs:
            return problem_response(
                {
                    "status": 404,
                    "code": "job.unknown",
                    "title": "There is no such job",
                    "detail": "There is no such job.",
                    "remedy": "Send the image again.",
                }
            )
        return self._refused(request) or JSONResponse(shown(self.jobs[job_id]))

    async def _cancel(self, job_id: str) -> Response:
        self.jobs[job_id]["state"] = "cancelled"
        return JSONResponse(shown(self.jobs[job_id]), 202)

    async def _events(self, job_id: str, request: Request) -> Response:
        if not self.has_events:
            return problem_response(
                {"status": 503, "code": "service.busy", "title": "", "detail": "", "remedy": ""}
            )
        self.heard.append(last := request.headers.get("Last-Event-ID", ""))
        events = self._stream(self.jobs[job_id], after=int(last or 0))
        return StreamingResponse(events, media_type="text/event-stream")

    async def _stream(self, job: dict[str, Any], *, after: int) -> AsyncIterator[str]:
        end = after + (self.events_per_answer or sys.maxsize)
        while after < end:
            if after < job["last_event"]:
                yield encoded(after + 1, *job["history"][after])
                after += 1
            elif job["state"] in FINAL:
                yield encoded(after + 1, "done", shown(job))
                return
            else:
                await asyncio.sleep(0.01)

    async def _artifact(self, job_id: str, name: str, request: Request) -> Response:
        filename, media, content = self.jobs[job_id]["files"][name]
        disposition = {"Content-Disposition": f'attachment; filename="{filename}"'}
        return self._refused(request) or Response(content, media_type=media, headers=disposition)

    def _refused(self, request: Request) -> Response | None:
        if not self.wants_key or request.headers.get("authorization") == f"Bearer {KEY}":
            return None
        return problem_response(
            {
                "status": 401,
                "code": "auth.required",
                "title": "Who are you?",
                "detail": "The request has no valid key.",
                "remedy": "Send one.",
            }
        )


def shown(job: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name not in {"task", "files", "history"}}


def happened(job: dict[str, Any], kind: str, **changes: Any) -> None:
    """Change a job and write down what its listeners hear of it, so that none misses anything."""
    job |= changes
    job["history"].append((kind, changes.get("progress", changes)))
    job["last_event"] = len(job["history"])


def encoded(number: int, kind: str, data: dict[str, Any]) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


def problem_response(problem: dict[str, Any]) -> Response:
    return JSONResponse(
        {"type": "about:blank", "instance": "1", **problem},
        problem["status"],
        media_type="application/problem+json",
    )
