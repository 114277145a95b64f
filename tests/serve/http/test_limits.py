"""Bounds: size, time, places; clients that go away; and nothing left behind."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from python_multipart.multipart import MultipartParser

from nnunet_losses.serve.http import job_service
from nnunet_losses.serve.http.parts import PartWriter
from nnunet_losses.serve.http.problems import ServiceProblem
from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.jobs.queue import JobQueue

from .fakes import HELD, PATIENCE, FakeEngine, Service, description, problem, serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Gate:
    """A network that runs until it is released, or until its progress callback ends it."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.started = 0
        self.ended_by: list[str] = []
        self.release = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, *, progress: Any, **_: Any) -> None:
        with self._lock:
            self.started += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            while not self.release.wait(0.005):
                progress("network", 0, 1)
        except Exception as error:
            self.ended_by.append(type(error).__name__)
            raise
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def gate() -> Iterator[Gate]:
    closed = Gate()
    yield closed
    closed.release.set()


class Clock:
    """The server's clock for clients that wait, which stands still until a test puts it forward."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def run_until(self, replies: list[Future[httpx.Response]]) -> None:
        """Let half minutes pass until everybody has an answer."""

        def are_there() -> bool:
            self.time += 30
            return all(reply.done() for reply in replies)

        wait_for(are_there)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(job_service, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


@contextmanager
def in_background(call: Any, *, times: int = 1) -> Iterator[list[Future[httpx.Response]]]:
    with ThreadPoolExecutor(times) as pool:
        yield [pool.submit(call) for _ in range(times)]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_above_the_limit_is_refused_while_it_is_read(tmp_path, chunked: bool) -> None:
    with serving(FakeEngine(), folder=tmp_path, max_body_bytes=100_000) as service:
        parts = {"T1": ("a.nii.gz", b"x" * 100_000)}
        request = service.client.build_request("POST", "/v1/segment", files=parts)
        content = _stream(request.read()) if chunked else request.read()
        headers = {"Content-Type": request.headers["Content-Type"]}
        response = service.client.post("/v1/segment", content=content, headers=headers)
        assert problem(response, 413, "input.too_large")["expected"] == 100_000
        assert service.leftovers() == []
        assert service.engines[0].received == []


def _stream(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 7_001):
        yield content[start : start + 7_001]


def test_a_body_of_exactly_the_limit_is_taken(tmp_path) -> None:
    def request(client: httpx.Client) -> httpx.Request:
        parts = [(name, ("a.nii.gz", b"x" * 5000)) for name in ("T1", "FLAIR")]
        return client.build_request("POST", "/v1/segment", files=parts, headers=_BOUNDARY)

    size = len(request(httpx.Client(base_url="http://localhost")).read())
    for limit, status in ((size, 200), (size - 1, 413)):
        with serving(FakeEngine(), folder=tmp_path, max_body_bytes=limit) as service:
            assert service.client.send(request(service.client)).status_code == status


_BOUNDARY = {"Content-Type": "multipart/form-data; boundary=fixed"}


def test_an_endless_body_is_answered_and_does_not_fill_the_disk(tmp_path) -> None:
    head = (
        b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    first = b'--b\r\nContent-Disposition: form-data; name="T1"; filename="a"\r\n\r\n'
    with serving(FakeEngine(), folder=tmp_path, max_body_bytes=300_000) as service:
        with _connection(service) as connection:
            connection.sendall(head + b"%x\r\n%s\r\n" % (len(first), first))
            with suppress(OSError):  # the server may hang up on who goes on after the answer
                for _ in range(100):
                    connection.sendall(b"10000\r\n" + b"\0" * 65536 + b"\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
            assert service.leftovers() == []
        assert service.segment().status_code == 200


@contextmanager
def _connection(service: Service) -> Iterator[socket.socket]:
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        yield connection


@contextmanager
def _asking(service: Service) -> Iterator[socket.socket]:
    """A client that has sent a case and waits for its answer, until it leaves."""
    files = [(name, (f"{name}.nii.gz", b"voxels")) for name in ("T1", "FLAIR")]
    request = service.client.build_request("POST", "/v1/segment", files=files)
    content = request.read()
    lines = ["POST /v1/segment HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items())]
    with _connection(service) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        yield connection


_STALLED = (
    b"POST /v1/segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    b'--b\r\nContent-Disposition: form-data; name="T1"; filename="a"\r\n\r\nxxxx'
)


def test_a_slow_client_is_told_so(tmp_path) -> None:
    with serving(FakeEngine(), folder=tmp_path, upload_timeout=0.2) as service:
        with _connection(service) as connection:
            connection.sendall(_STALLED)
            response = HTTPResponse(connection)
            response.begin()
            assert (response.status, json.load(response)["code"]) == (408, "request.timeout")
        assert service.leftovers() == []


def test_health_answers_while_a_prediction_runs(tmp_path, gate: Gate) -> None:
    with (
        serving(FakeEngine(act=gate), folder=tmp_path) as service,
        in_background(service.segment) as (reply,),
    ):
        wait_for(lambda: gate.running == 1)
        for _ in range(20):
            assert service.client.get("/v2/health/live").status_code == 200
            assert service.client.get("/v2/health/ready").status_code == 200
        assert gate.running == 1, "what is held back here was waited for"
        gate.release.set()
        assert reply.result(PATIENCE).status_code == 200


def test_one_runs_some_wait_and_the_rest_is_sent_away(tmp_path, gate: Gate) -> None:
    with serving(FakeEngine(act=gate), folder=tmp_path, max_queued=2, retry_after=7) as service:
        with ThreadPoolExecutor(3) as pool:
            replies = [pool.submit(service.segment)]
            wait_for(lambda: gate.running == 1)
            replies += [pool.submit(service.segment) for _ in range(2)]
            wait_for(lambda: service.unfinished() == 3)
            for _ in range(3):
                response = service.segment()
                problem(response, 503, "queue.full")
                assert response.headers["retry-after"] == "7"
            gate.release.set()
            assert [reply.result(PATIENCE).status_code for reply in replies] == [200] * 3
        assert (gate.most, gate.started) == (1, 3)
        assert service.segment().status_code == 200
        assert service.leftovers() == []


def test_each_worker_does_one_job_at_a_time(tmp_path, gate: Gate) -> None:
    liver = FakeEngine(description(name="liver", channels=("CT",)))
    with (
        serving(FakeEngine(act=gate), liver, folder=tmp_path, workers=2) as service,
        in_background(lambda: service.segment(data={"model": "brain"})) as (slow,),
    ):
        wait_for(lambda: gate.running == 1)
        assert service.segment(files={"CT": b"x"}, data={"model": "liver"}).status_code == 200
        gate.release.set()
        assert slow.result(PATIENCE).status_code == 200


def test_uploads_are_bounded_too(tmp_path) -> None:
    with serving(FakeEngine(), folder=tmp_path, max_uploads=1) as service, _connection(service) as stalled:
        stalled.sendall(_STALLED)
        wait_for(lambda: len(service.leftovers()) == 1)
        problem(service.segment(), 503, "service.busy")
        stalled.close()
        wait_for(lambda: service.leftovers() == [])
        assert service.segment().status_code == 200


def test_a_prediction_that_takes_too_long_is_ended(tmp_path, gate: Gate, clock: Clock) -> None:
    with serving(FakeEngine(act=gate), folder=tmp_path, prediction_timeout=30) as service:
        with in_background(service.segment) as (reply,):
            wait_for(lambda: gate.running == 1)
            clock.run_until([reply])
            problem(reply.result(), 504, "prediction.timeout")
        wait_for(lambda: gate.ended_by == ["TaskInterrupted"])
        wait_for(lambda: service.leftovers() == [])
        gate.release.set()
        assert service.segment().status_code == 200


def test_waiting_counts_for_the_timeout(tmp_path, clock: Clock) -> None:
    release = threading.Event()

    def stubborn(**_: Any) -> None:
        release.wait(HELD)  # never looks at its progress callback

    with serving(FakeEngine(act=stubborn), folder=tmp_path, prediction_timeout=30) as service:
        try:
            with in_background(service.segment, times=2) as replies:
                wait_for(lambda: service.unfinished() == 2)
                wait_for(lambda: len(service.engines[0].received) == 1)
                clock.run_until(replies)
            assert [reply.result().status_code for reply in replies] == [504, 504]
        finally:
            release.set()
        wait_for(lambda: service.unfinished() == 0)
        assert len(service.engines[0].received) == 1


def test_a_client_that_leaves_frees_the_network(tmp_path, gate: Gate) -> None:
    with serving(FakeEngine(act=gate), folder=tmp_path) as service:
        with _asking(service):
            wait_for(lambda: gate.running == 1)
        wait_for(lambda: service.unfinished() == 0)
        assert gate.ended_by == ["TaskInterrupted"]
        wait_for(lambda: service.leftovers() == [])
        gate.release.set()
        assert service.segment().status_code == 200


def test_a_client_that_leaves_while_waiting_never_runs(tmp_path, gate: Gate) -> None:
    with serving(FakeEngine(act=gate), folder=tmp_path) as service:
        with in_background(service.segment) as (first,):
            wait_for(lambda: gate.running == 1)
            with _asking(service):
                wait_for(lambda: service.unfinished() == 2)
            wait_for(lambda: service.unfinished() == 1)
            gate.release.set()
            assert first.result(PATIENCE).status_code == 200
        assert gate.started == 1
        wait_for(lambda: service.leftovers() == [])


def test_a_client_that_leaves_in_mid_upload_leaves_nothing(tmp_path) -> None:
    with serving(FakeEngine(), folder=tmp_path) as service:
        with _connection(service) as connection:
            connection.sendall(_STALLED)
            wait_for(lambda: len(service.leftovers()) == 1)
        wait_for(lambda: service.leftovers() == [])
        assert service.segment().status_code == 200


def test_stopping_answers_what_is_in_flight(tmp_path, gate: Gate) -> None:
    with (
        serving(FakeEngine(act=gate), folder=tmp_path) as service,
        in_background(service.segment) as (reply,),
    ):
        wait_for(lambda: gate.running == 1)
        service.server.should_exit = True
        wait_for(lambda: not service.server.servers[0].is_serving())
        gate.release.set()
        assert reply.result(PATIENCE).status_code == 200
    assert list(tmp_path.iterdir()) == []


def test_stopping_ends_what_takes_too_long(tmp_path, gate: Gate) -> None:
    with (
        serving(FakeEngine(act=gate), folder=tmp_path, graceful=1) as service,
        in_background(service.segment) as (reply,),
    ):
        wait_for(lambda: gate.running == 1)
        service.server.should_exit = True
        problem(reply.result(PATIENCE), 503, "service.stopping")
        wait_for(lambda: gate.running == 0)
    assert gate.ended_by == ["TaskInterrupted"]
    assert list(tmp_path.iterdir()) == []


def test_stopping_waits_until_files_are_deleted(
    tmp_path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late the thread comes that deletes the job of a request that was broken off."""
    order = []
    stopped = threading.Event()
    with (
        serving(FakeEngine(act=gate), folder=tmp_path, graceful=1) as service,
        in_background(service.segment) as (reply,),
    ):
        wait_for(lambda: gate.running == 1)
        jobs, get, stop = service.jobs, JobQueue.get, service.jobs._predictors.stop

        def stopping(*, grace: float) -> None:
            stop(grace=grace)
            stopped.set()

        def late(queue: JobQueue, job_id: str) -> Any:
            if jobs.is_draining:
                stopped.wait(PATIENCE)
                time.sleep(0.2)
            return get(queue, job_id)

        monkeypatch.setattr(jobs._predictors, "stop", stopping)
        monkeypatch.setattr(JobQueue, "get", late)
        for owner, name in ((JobQueue, "forget"), (Database, "close")):
            monkeypatch.setattr(owner, name, noting(order, getattr(owner, name)))
        service.server.should_exit = True
        problem(reply.result(PATIENCE), 503, "service.stopping")
    assert order == ["forget", "close"]
    assert list(tmp_path.iterdir()) == []


def noting(order: list[str], call: Any) -> Any:
    def noted(*arguments: Any) -> Any:
        order.append(call.__name__)
        return call(*arguments)

    return noted


@pytest.mark.parametrize("line", [b"X-Name: %b", b"%b: x"])
def test_a_part_s_header_is_bounded_whatever_the_parser_allows(tmp_path: Path, line: bytes) -> None:
    writer = PartWriter(tmp_path)
    parser = MultipartParser(b"x", writer.callbacks(), max_header_size=10**9)
    parser.write(b"--x\r\n" + line % (b"a" * 4000))
    with pytest.raises(ServiceProblem) as caught:
        parser.write(b"a" * 100 + b"\r\n")
    assert caught.value.problem.code == "request.malformed"
