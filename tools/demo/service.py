"""Talks to ``nnunet-losses serve`` as any client would."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING, Any

import httpx

from .process import StepFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .plan import Plan
    from .process import Runner

_LOG = "serve"
_ADDRESS = re.compile(r"Listening on (http://\S+)")


@dataclass(frozen=True)
class Reply:
    """What came back for one file.

    Attributes:
        status: of HTTP.
        answer: the statement about the image; None where nothing could be said about it.
        problem: the problem document of a refusal.
        mask: bytes of the mask file.
        seconds: from request to reply.
    """

    status: int
    answer: dict[str, Any] | None
    problem: dict[str, Any] | None
    mask: bytes | None
    seconds: float


@dataclass(frozen=True)
class Service:
    """A running service."""

    client: httpx.Client

    def send(self, file: Path, *, model: str, channel: str, case: str) -> Reply:
        """Send one image and read the reply."""
        start = perf_counter()
        with file.open("rb") as stream:
            response = self.client.post(
                "/v1/segment", data={"model": model, "case": case}, files={channel: (file.name, stream)}
            )
        return read_reply(response, perf_counter() - start)


@contextmanager
def serving(plan: Plan, runner: Runner, *, limit: float = 180) -> Iterator[Service]:
    """Serve all bundles on a free loopback port while the block runs; it begins when the service is ready."""
    bundles = [plan.bundle(trainer) for trainer in plan.trainers]
    with runner.started("nnunet-losses", "serve", *bundles, "--port", 0, log=_LOG) as process:
        deadline = monotonic() + limit

        def check() -> None:
            if process.poll() is not None:
                raise StepFailed(f"The service ended with status {process.returncode}.\n{runner.tail(_LOG)}")
            if monotonic() > deadline:
                raise StepFailed(f"The service was not ready after {limit:.0f} s.\n{runner.tail(_LOG)}")
            sleep(0.1)

        while not (found := _ADDRESS.search(runner.tail(_LOG, 1000))):
            check()
        # loopback: a proxy of the environment has no business here
        with httpx.Client(base_url=found[1], timeout=300, trust_env=False) as client:
            while not _is_ready(client):
                check()
            yield Service(client)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/ready").status_code == 200
    except httpx.ConnectError:  # announced, but not yet answering
        return False


def read_reply(response: httpx.Response, seconds: float) -> Reply:
    """Sort a reply into answer, problem and mask."""
    kind = response.headers.get("content-type", "")
    if kind.startswith("multipart/mixed"):
        parts = split_multipart(response.content, kind)
        return Reply(response.status_code, json.loads(parts["answer"]), None, parts["mask"], seconds)
    content = response.json()
    if kind.startswith("application/problem+json"):
        return Reply(response.status_code, content.get("answer"), content, None, seconds)
    return Reply(response.status_code, content, None, None, seconds)


def split_multipart(body: bytes, content_type: str) -> dict[str, bytes]:
    r"""Contents of the parts of a multipart body, by their names.

    Example:
        >>> body = b'--x\r\nContent-Disposition: attachment; name="mask"\r\n\r\n\x00\r\n--x--\r\n'
        >>> split_multipart(body, "multipart/mixed; boundary=x")
        {'mask': b'\x00'}
    """
    boundary = content_type.split("boundary=", 1)[1].split(";", maxsplit=1)[0].strip('"').encode()
    parts = {}
    for piece in (b"\r\n" + body).split(b"\r\n--" + boundary)[1:-1]:
        header, content = piece.split(b"\r\n\r\n", 1)
        name = re.search(rb'name="([^"]+)"', header)
        if name is None:
            raise ValueError(f"A part has no name: {header!r}.")
        parts[name[1].decode()] = content
    return parts
