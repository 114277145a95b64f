"""Slow, stalled and malformed clients of the real protocol, over sockets."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import uvicorn

from nnunet_losses.serve.http.protocol import HEAD_LIMIT, patient_protocol
from nnunet_losses.serve.http.settings import Settings

from .fakes import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = 64 * 1024**2


async def application(scope, receive, send) -> None:
    """Answer with a short text, or with much of it."""
    size = LARGE if scope["path"] == "/large" else 2
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
    while size:
        piece = min(size, 65536)
        size -= piece
        await send({"type": "http.response.body", "body": b"x" * piece, "more_body": bool(size)})


@contextmanager
def running(**settings: float) -> Iterator[tuple[int, uvicorn.Server]]:
    config = uvicorn.Config(
        application,
        port=0,
        http=patient_protocol(Settings(**settings)),
        h11_max_incomplete_event_size=HEAD_LIMIT,
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], server
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(header_timeout=0.5) as (number, _):
        yield number


def talk(port: int, *pieces: bytes, pause: float = 0.0) -> bytes:
    """Send pieces with pauses; give all that came back until the server closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:
                break
            time.sleep(pause)
        received = b""
        while True:
            try:
                piece = connection.recv(65536)
            except ConnectionResetError:
                return received
            if not piece:
                return received
            received += piece


def refused(reply: bytes, status: int, code: str) -> None:
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), reply
    assert b"application/problem+json" in head
    assert b"connection: close" in head
    content = json.loads(body)
    assert (content["status"], content["code"]) == (status, code)


def test_a_head_that_dawdles_is_cut_off(port: int) -> None:
    """Each byte comes soon enough, the whole does not."""
    begin = time.monotonic()
    reply = talk(port, b"GET / HTTP/1.1\r\n", *[b"X-A: 1\r\n"] * 30, pause=0.1)
    refused(reply, 408, "request.timeout")
    assert time.monotonic() - begin < 9


def test_who_says_nothing_is_cut_off(port: int) -> None:
    assert talk(port) == b""


def test_the_second_head_must_come_in_time_too(port: int) -> None:
    reply = talk(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n", pause=0.1)
    first, _, second = reply.partition(b"xx")
    assert first.startswith(b"HTTP/1.1 200")
    refused(second, 408, "request.timeout")


def test_a_good_request_is_answered(port: int) -> None:
    assert talk(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").endswith(b"\r\n\r\nxx")


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
def test_what_is_no_http_is_refused_as_a_problem(port: int, head: bytes, status: int, code: str) -> None:
    refused(talk(port, head), status, code)


def test_who_does_not_take_its_answer_is_disconnected() -> None:
    with running(send_timeout=0.5) as (port, server), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port))
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: len(server.server_state.connections) == 1)
        wait_for(lambda: not server.server_state.connections)
