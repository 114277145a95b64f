"""Slow, stalled and malformed clients of the real protocol, over sockets."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import uvicorn

from nnunet_losses.serve.http.protocol import HEAD_LIMIT, patient_protocol
from nnunet_losses.serve.http.settings import Settings

from .fakes import HELD, PATIENCE, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 64 * 1024**2


class Application:
    """Answers with a short text, or with much of it.

    Attributes:
        is_asked: set when much is asked for.
    """

    def __init__(self) -> None:
        self.is_asked = threading.Event()

    async def __call__(self, scope, receive, send) -> None:
        size = LARGE if scope["path"] == "/large" else 2
        headers = [(b"content-length", b"%d" % size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if size == LARGE:
            self.is_asked.set()
        while size:
            piece = min(size, 65536)
            size -= piece
            await send({"type": "http.response.body", "body": b"x" * piece, "more_body": bool(size)})


@contextmanager
def running(*, header_timeout: float = HELD, send_timeout: float = HELD) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(
        Application(),
        port=0,
        loop="asyncio",
        http=patient_protocol(Settings(header_timeout=header_timeout, send_timeout=send_timeout)),
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_keep_alive=int(HELD),
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield server
    finally:
        server.should_exit = server.force_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="module")
def patient() -> Iterator[uvicorn.Server]:
    """Gives heads the time that they need."""
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def hasty() -> Iterator[uvicorn.Server]:
    with running(header_timeout=0.5) as server:
        yield server


def connected(server: uvicorn.Server) -> socket.socket:
    return socket.create_connection(server.servers[0].sockets[0].getsockname(), timeout=PATIENCE)


@contextmanager
def standing_still(server: uvicorn.Server) -> Iterator[None]:
    """Let the server's event loop do nothing meanwhile."""
    stands, go = threading.Event(), threading.Event()

    def stand() -> None:
        stands.set()
        go.wait(HELD)

    server.servers[0].get_loop().call_soon_threadsafe(stand)
    assert stands.wait(PATIENCE)
    try:
        yield
    finally:
        go.set()


@contextmanager
def talking(server: uvicorn.Server, begin: bytes) -> Iterator[socket.socket]:
    """A connection with something to read, before the server's clock for it begins to run."""
    with standing_still(server):
        connection = connected(server)
        connection.sendall(begin)
    with connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def talk(server: uvicorn.Server, content: bytes) -> bytes:
    """Send something; all that comes back until the server closes."""
    with connected(server) as connection:
        with suppress(OSError):  # it was refused before it was all sent
            connection.sendall(content)
        return rest(connection)


def refused(reply: bytes, status: int, code: str) -> None:
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), reply
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    content = json.loads(body)
    assert (content["status"], content["code"]) == (status, code)


def test_a_head_that_dawdles_is_cut_off(hasty: uvicorn.Server) -> None:
    """Its time does not begin anew with each line."""
    with talking(hasty, b"GET / HTTP/1.1\r\n") as connection:
        end = time.monotonic() + PATIENCE
        while not select.select([connection], [], [], 0.05)[0]:
            assert time.monotonic() < end, "it is waited for as long as lines come"
            with suppress(OSError):  # it was cut off just now
                connection.sendall(b"X-A: 1\r\n")
        refused(rest(connection), 408, "request.timeout")


def test_who_says_nothing_is_cut_off(hasty: uvicorn.Server) -> None:
    assert talk(hasty, b"") == b""


def test_the_second_head_must_come_in_time_too(hasty: uvicorn.Server) -> None:
    with talking(hasty, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as connection:
        first = b""
        while not first.endswith(b"xx"):
            first += connection.recv(65536)
            assert first.startswith(b"HTTP/1.1 200"[: len(first)] or b"the answer")
        connection.sendall(b"GET / HTTP/1.1\r\n")
        refused(rest(connection), 408, "request.timeout")


def test_a_good_request_is_answered(patient: uvicorn.Server) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert talk(patient, request).endswith(b"\r\n\r\nxx")


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 2 * HEAD_LIMIT, 431, "request.headers_too_large"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400, "request.http"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "request.http"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "request.http"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "request.http"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
            "request.http",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400, "request.http"),
    ],
)
def test_what_is_no_http_is_refused_as_a_problem(
    patient: uvicorn.Server, head: bytes, status: int, code: str
) -> None:
    refused(talk(patient, head), status, code)


def test_who_does_not_take_its_answer_is_disconnected() -> None:
    with running(send_timeout=0.5) as server, socket.socket() as connection:
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(server.servers[0].sockets[0].getsockname())
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        assert server.config.app.is_asked.wait(PATIENCE)
        wait_for(lambda: not server.server_state.connections)
        assert len(rest(connection)) < LARGE
