"""What /v1/jobs promises in detail: keys, events, files, cancellation, retention, quota and bound."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.http import job_service
from nnunet_losses.serve.http.security.caller import Scope
from nnunet_losses.serve.http.security.key_store import changing
from nnunet_losses.serve.http.security.keys import create_key

from .fakes import HELD, MASK, PATIENCE, WAIT, FakeEngine, Service, problem, serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

IMAGE = {"T1": b"first", "FLAIR": b"second"}


def post(service: Service, *, files: dict[str, bytes] = IMAGE, **headers: str) -> httpx.Response:
    parts = [(name, (f"{name}.nii.gz", content)) for name, content in files.items()]
    return service.client.post(
        "/v1/jobs", files=parts, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def done(service: Service) -> dict[str, Any]:
    """A job that has succeeded."""
    response = post(service, **WAIT)
    assert response.status_code == 200, response.text
    status: dict[str, Any] = response.json()
    assert status["state"] == "succeeded"
    return status


class Gate:
    """A network that runs until it is released, or told to stop."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.release = threading.Event()

    def __call__(self, *, progress: Any, **_: Any) -> None:
        self.running.set()
        while not self.release.wait(0.005):
            progress("network", 0, 2)
        progress("network", 1, 2)


@pytest.fixture
def gate() -> Iterator[Gate]:
    closed = Gate()
    yield closed
    closed.release.set()


def test_the_same_key_and_request_give_the_same_job(service: Service) -> None:
    first = post(service, Idempotency_Key="a", **WAIT)
    again = post(service, Idempotency_Key="a")
    assert (first.status_code, again.status_code) == (200, 200)  # it has ended already
    assert first.json()["id"] == again.json()["id"]
    assert first.headers["location"] == again.headers["location"]
    assert post(service, **WAIT).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("files", [{**IMAGE, "FLAIR": b"another"}, {"T1": b"second", "FLAIR": b"first"}])
def test_the_same_key_with_another_request_is_refused(service: Service, files: dict[str, bytes]) -> None:
    first = post(service, Idempotency_Key="b", **WAIT)
    problem(post(service, files=files, Idempotency_Key="b"), 422, "job.idempotency_conflict")
    assert post(service, Idempotency_Key="b").json()["id"] == first.json()["id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "tab\tulator"])
def test_what_is_no_key_is_refused(service: Service, key: str) -> None:
    problem(post(service, Idempotency_Key=key), 422, "request.invalid")


def test_a_key_and_its_artifacts_survive_a_restart(tmp_path: Path) -> None:
    with serving(FakeEngine(), folder=tmp_path / "a", data_folder=tmp_path / "data") as service:
        before = post(service, Idempotency_Key="c", **WAIT).json()
    with serving(FakeEngine(), folder=tmp_path / "b", data_folder=tmp_path / "data") as service:
        again = post(service, Idempotency_Key="c")
        assert (again.status_code, again.json()) == (200, before)
        assert service.engines[0].received == []
        problem(
            post(service, files={**IMAGE, "T1": b"x"}, Idempotency_Key="c"), 422, "job.idempotency_conflict"
        )
        (mask,) = (artifact for artifact in before["artifacts"] if artifact["name"] == "mask")
        assert service.client.get(mask["url"]).content == MASK


def events(response: httpx.Response) -> list[tuple[int, str]]:
    """Numbers and names of server-sent events."""
    blocks = [dict(_fields(block)) for block in response.text.split("\n\n") if "event: " in block]
    return [(int(block["id"]), block["event"]) for block in blocks]


def _fields(block: str) -> Iterator[tuple[str, str]]:
    for line in block.splitlines():
        name, _, value = line.partition(": ")
        yield name, value


def test_events_resume_behind_the_last_one(service: Service) -> None:
    job = done(service)
    url = job["links"]["events"]
    everything = events(service.client.get(url))
    numbers = [number for number, _ in everything]
    assert numbers == list(range(1, len(numbers) + 1))
    assert next(name for _, name in everything) == "state"
    assert everything[-1][1] == "done"
    assert service.client.get(job["links"]["self"]).json()["last_event"] == len(numbers) - 1
    for last in (1, len(numbers) - 1):
        resumed = service.client.get(url, headers={"Last-Event-ID": str(last)})
        assert events(resumed) == everything[last:]
    finished = service.client.get(url, headers={"Last-Event-ID": str(len(numbers))})
    assert (finished.status_code, finished.content) == (204, b"")


@pytest.mark.parametrize(
    ("last", "code"), [("99", "job.events_unknown"), ("x", "request.invalid"), ("-1", "request.invalid")]
)
def test_events_that_never_were_are_refused(service: Service, last: str, code: str) -> None:
    url = done(service)["links"]["events"]
    problem(service.client.get(url, headers={"Last-Event-ID": last}), 422, code)


def test_events_of_a_running_job_resume_and_end(tmp_path: Path, gate: Gate) -> None:
    with serving(FakeEngine(act=gate), folder=tmp_path) as service:
        job = post(service).json()
        assert gate.running.wait(PATIENCE)
        with service.client.stream("GET", job["links"]["events"]) as response:
            assert response.headers["cache-control"] == "no-store"
            seen = [line for line, _ in zip(response.iter_lines(), range(8), strict=False)]
        assert "event: state" in seen
        gate.release.set()
        rest = events(service.client.get(job["links"]["events"], headers={"Last-Event-ID": "1"}))
        assert [number for number, _ in rest] == list(range(2, 2 + len(rest)))
        assert rest[-1][1] == "done"


def test_a_file_has_its_hash_its_name_and_is_kept_nowhere(service: Service) -> None:
    job = done(service)
    for artifact in job["artifacts"]:
        response = service.client.get(artifact["url"])
        assert response.headers["etag"] == f'"{artifact["sha256"]}"'
        assert response.headers["cache-control"] == "no-store"
        assert int(response.headers["content-length"]) == artifact["bytes"] == len(response.content)
        ending = {"mask": "mask.nii.gz", "answer": "answer.json"}[artifact["name"]]
        assert response.headers["content-disposition"] == f'attachment; filename="{ending}"'
    for address in (*job["links"].values(), "/v1/models"):
        assert service.client.get(address).headers["cache-control"] == "no-store", address
    reply = service.segment()
    assert reply.headers["cache-control"] == "no-store"


def mask_url(service: Service) -> str:
    url: str = next(artifact["url"] for artifact in done(service)["artifacts"] if artifact["name"] == "mask")
    return url


@pytest.mark.parametrize(
    ("wanted", "part"),
    [("bytes=0-9", MASK[:10]), ("bytes=5-", MASK[5:]), ("bytes=-7", MASK[-7:]), ("BYTES=3-3", MASK[3:4]),
     ("bytes=1270-99999", MASK[1270:]), ("bytes=-99999", MASK)],
)  # fmt: skip
def test_parts_of_a_file(service: Service, wanted: str, part: bytes) -> None:
    response = service.client.get(mask_url(service), headers={"Range": wanted})
    assert (response.status_code, response.content) == (206, part)
    assert response.headers["content-range"].endswith(f"/{len(MASK)}")


@pytest.mark.parametrize("ignored", ["items=0-5", "bytes=5-2", "bytes=a-b", "bytes=", "bytes 0-5", "bytes=-"])
def test_ranges_that_mean_nothing_are_ignored(service: Service, ignored: str) -> None:
    response = service.client.get(mask_url(service), headers={"Range": ignored})
    assert (response.status_code, response.content) == (200, MASK)


@pytest.mark.parametrize(
    "beyond", [f"bytes={len(MASK)}-", "bytes=99999-100000", "bytes=-0", "bytes=0-1,99999-"]
)
def test_parts_that_are_not_there(service: Service, beyond: str) -> None:
    response = service.client.get(mask_url(service), headers={"Range": beyond})
    problem(response, 416, "request.range")
    assert response.headers["content-range"] == f"bytes */{len(MASK)}"


def test_who_has_a_file_is_not_sent_it(service: Service) -> None:
    url = mask_url(service)
    tag = service.client.get(url).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = service.client.get(url, headers={"If-None-Match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", tag)
    assert service.client.get(url, headers={"If-None-Match": '"other"'}).content == MASK
    for condition, status in ((tag, 206), ('"other"', 200)):
        headers = {"Range": "bytes=0-9", "If-Range": condition}
        assert service.client.get(url, headers=headers).status_code == status
    headers = {"Range": "bytes=99999-", "If-Range": '"other"'}
    assert service.client.get(url, headers=headers).content == MASK


def test_a_queued_a_running_and_a_finished_job_are_cancelled_or_not(tmp_path: Path, gate: Gate) -> None:
    with serving(FakeEngine(act=gate), folder=tmp_path) as service:
        running = post(service).json()["id"]
        assert gate.running.wait(PATIENCE)
        queued = post(service).json()["id"]
        at_once = service.client.delete(f"/v1/jobs/{queued}")
        assert (at_once.status_code, at_once.json()["state"]) == (200, "cancelled")
        later = service.client.delete(f"/v1/jobs/{running}")
        assert later.status_code == 202
        wait_for(lambda: service.client.get(f"/v1/jobs/{running}").json()["state"] == "cancelled")
        for job in (running, queued):
            assert service.client.delete(f"/v1/jobs/{job}").status_code == 200  # as often as one likes
            problem(service.client.get(f"/v1/jobs/{job}/artifacts/mask"), 404, "artifact.unknown")
            problem(service.client.get(f"/v1/jobs/{job}/manifest"), 404, "artifact.unknown")
        gate.release.set()
        problem(service.client.delete(f"/v1/jobs/{done(service)['id']}"), 409, "job.finished")
        problem(service.client.delete(f"/v1/jobs/{'0' * 32}"), 404, "job.unknown")


def test_finished_jobs_go_when_their_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_service, "HOUSEKEEPING", 0.1)
    with serving(FakeEngine(), folder=tmp_path, job_retention=HELD) as service:
        job = done(service)
        assert service.client.get(job["links"]["self"]).status_code == 200
        monkeypatch.setattr(service.jobs.ground.database, "_clock", lambda: time.time() + HELD + 1)
        wait_for(lambda: service.client.get(job["links"]["self"]).status_code == 404)
        for address in job["links"].values():
            problem(service.client.get(address), 404, "job.unknown")
        problem(service.client.get(job["artifacts"][0]["url"]), 404, "job.unknown")
        wait_for(lambda: service.leftovers() == [])


def test_the_queue_is_bounded_and_says_when_to_come_again(tmp_path: Path, gate: Gate) -> None:
    with serving(FakeEngine(act=gate), folder=tmp_path, max_queued=2, retry_after=7) as service:
        jobs = [post(service, Idempotency_Key="first").json()["id"]]
        assert gate.running.wait(PATIENCE)
        jobs += [post(service).json()["id"] for _ in range(2)]
        refused = post(service)
        problem(refused, 503, "queue.full")
        assert refused.headers["retry-after"] == "7"
        assert post(service, Idempotency_Key="first").json()["id"] == jobs[0]  # needs no room
        gate.release.set()
        for job in jobs:
            wait_for(lambda job=job: service.client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded")
        assert len(service.engines[0].received) == 3


def test_a_caller_has_a_quota_of_his_own(tmp_path: Path, gate: Gate) -> None:
    tokens = {}
    with changing(tmp_path / "keys.json") as keys:
        for name in ("ann", "bob"):
            tokens[name], record = create_key(name, [Scope.SEGMENT])
            keys.append(record)
    with serving(
        FakeEngine(act=gate), folder=tmp_path / "a", keys_file=tmp_path / "keys.json", max_per_caller=2
    ) as service:
        ann, bob = ({"Authorization": f"Bearer {tokens[name]}"} for name in ("ann", "bob"))
        jobs = [post(service, **ann).json()["id"] for _ in range(2)]
        refused = post(service, **ann)
        problem(refused, 429, "queue.quota")
        assert int(refused.headers["retry-after"]) > 0
        assert post(service, **bob).status_code == 202
        assert service.client.delete(f"/v1/jobs/{jobs[1]}", headers=ann).status_code == 200
        assert post(service, **ann).status_code == 202
        gate.release.set()


def test_probes_without_a_key_learn_no_names(tmp_path: Path) -> None:
    with changing(tmp_path / "keys.json") as keys:
        token, record = create_key("ann", [Scope.SEGMENT])
        keys.append(record)
    started = threading.Event()
    engine = FakeEngine(test=lambda: started.wait(HELD))
    with serving(engine, folder=tmp_path / "a", keys_file=tmp_path / "keys.json", ready=False) as service:
        try:
            for path in ("/v2/health/ready", "/readyz"):
                refused = service.client.get(path)
                problem(refused, 503, "service.not_ready")
                assert "brain" not in refused.text
                assert refused.json()["models"] == []
        finally:
            started.set()
        service.wait_until_ready()
        answers = [
            service.client.get(path) for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/healthz")
        ]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert "brain" not in "".join(answer.text + json.dumps(dict(answer.headers)) for answer in answers)
        for path in ("/v1/models", "/v2/models/brain", "/v2/models/brain/ready", "/metrics"):
            problem(service.client.get(path), 401, "auth.required")
        headers = {"Authorization": f"Bearer {token}"}
        assert "brain" in service.client.get("/v1/models", headers=headers).text


def test_nothing_runs_between_the_tests(service: Service) -> None:
    """Every job above has ended; the server's figures add up."""
    wait_for(lambda: service.unfinished() == 0)
    totals = service.jobs.ground.queue.counts().totals
    assert totals["accepted"] == totals["succeeded"] + totals["failed"] + totals["cancelled"]
