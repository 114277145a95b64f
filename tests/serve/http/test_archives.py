"""Series from an archive instead of files, and results to one, with an archive that misbehaves as wanted."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.answer import Empty, EmptyMeaning, EmptyReason, Outcome
from nnunet_losses.serve.http.archive_settings import archive_list
from nnunet_losses.serve.http.security.caller import Scope
from nnunet_losses.serve.http.security.key_store import changing
from nnunet_losses.serve.http.security.keys import create_key
from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.logs import JsonFormatter

from ..dicomweb.fake import FakeArchive, fake_archive
from .fakes import WAIT, FakeEngine, Service, closed_port, description, problem, serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

STUDY, T1, FLAIR = "1.2.3", "1.2.3.1", "1.2.3.2"
SERIES = {"T1": T1, "FLAIR": FLAIR}
SECRET = "a-password-of-the-archive"


@pytest.fixture(scope="module")
def archive() -> Iterator[FakeArchive]:
    with fake_archive() as running:
        yield running


@pytest.fixture(scope="module")
def service(archive: FakeArchive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two models, of two channels and of one; three archives, one of them gone."""
    folder = tmp_path_factory.mktemp("archives")
    with (
        closed_port() as nobody,
        serving(
            FakeEngine(),
            FakeEngine(description(name="liver", channels=("CT",))),
            folder=folder,
            dicomweb={"pacs": archive.url, "gone": f"http://127.0.0.1:{nobody}/dicom-web"},
            dicomweb_credentials={"pacs": {"user": "reader", "password": SECRET}},
            max_body_bytes=3000,
        ) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def fresh(archive: FakeArchive, service: Service) -> None:
    """The archive has one study, and behaves."""
    archive.series = {(STUDY, T1): [b"first ", b"second"], (STUDY, FLAIR): [b"third"]}
    archive.before, archive.refuses = (lambda _: None), None
    for seen in (archive.stored, archive.requests, archive.headers):
        seen.clear()
    for engine in service.engines:
        engine.outcome, engine.empty, engine.rejects = Outcome.SEGMENTED, None, None


def source(**changes: Any) -> dict[str, Any]:
    return {"archive": "pacs", "study": STUDY, "series": SERIES, **changes}


def post(service: Service, where: str = "/v1/jobs", **body: Any) -> httpx.Response:
    body = {"source": source(), "model": "brain", **body}
    return service.client.post(where, json=body, headers=WAIT)


def ended(service: Service, **body: Any) -> dict[str, Any]:
    response = post(service, **body)
    assert response.status_code == 200, response.text
    status: dict[str, Any] = response.json()
    return status


def test_names_are_listed_and_nothing_else(service: Service) -> None:
    assert service.client.get("/v1/archives").json() == {"archives": [{"name": "pacs"}, {"name": "gone"}]}


def test_series_are_fetched_in_the_channels_order(service: Service, archive: FakeArchive) -> None:
    status = ended(service, source=source(series={"flair": FLAIR, "T1": T1}), case="visit 2")
    assert (status["state"], status["outcome"], status["case"]) == ("succeeded", "segmented", "visit 2")
    assert status["push"] is None
    received = service.engines[0].received[-1]
    assert received == {"channel_0000": b"first second", "channel_0001": b"third"}
    assert archive.requests == [("GET", f"/dicom-web/studies/{STUDY}/series/{uid}") for uid in (T1, FLAIR)]
    assert all(headers["Authorization"].startswith("Basic ") for headers in archive.headers)
    manifest = service.client.get(f"/v1/jobs/{status['id']}/manifest").json()
    assert manifest["source"] == {"archive": "pacs", "study": STUDY, "series": [T1, FLAIR]}
    assert manifest["inputs"] == []
    assert manifest["answer"]["timings"]["fetch"] > 0


def test_one_channel_needs_no_name(service: Service) -> None:
    assert ended(service, model="liver", source=source(series=T1))["state"] == "succeeded"
    assert service.engines[1].received[-1] == {"channel_0000": b"first second"}


def test_the_call_that_waits_takes_a_source_too(service: Service) -> None:
    kept = set(service.leftovers())
    response = post(service, "/v1/segment", push="pacs")
    assert response.headers["content-type"].startswith("multipart/mixed")
    assert b'"state": "stored"' in response.content
    wait_for(lambda: set(service.leftovers()) <= kept)


def test_options_reach_the_engine_as_text(service: Service) -> None:
    ended(service, ood="reject", uncertainty=True, empty_seg="omit", orientation="ras", outputs=["mask"])
    order = service.engines[0].orders[-1]
    wanted = {"ood": "reject", "uncertainty": "true", "empty_seg": "omit", "orientation": "ras"}
    assert dict(order.options) == wanted
    assert order.outputs == ("mask",)


@pytest.mark.parametrize("name", ["elsewhere", "http://127.0.0.1/", "", "pacs "])
@pytest.mark.parametrize("where", ["source", "push"])
def test_only_listed_archives(service: Service, archive: FakeArchive, where: str, name: str) -> None:
    body = {"source": source(archive=name)} if where == "source" else {"push": name}
    content = problem(post(service, **body), 403, "dicomweb.not_allowed")
    assert content["expected"] == ["gone", "pacs"]
    assert name == "" or name not in content["detail"] + content["remedy"]
    assert archive.requests == []


def test_uploads_are_pushed_to_listed_archives_only(service: Service, archive: FakeArchive) -> None:
    problem(service.segment(data={"model": "brain", "push": "elsewhere"}), 403, "dicomweb.not_allowed")
    assert service.segment(data={"model": "brain", "push": "pacs"}).status_code == 200
    assert len(archive.stored) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"study": "1.2/../../x"},
        {"study": ".."},
        {"study": "1..2"},
        {"study": "1." * 40 + "1"},
        {"study": "1.2.3\n"},
        {"series": {"T1": "1.2?a=b", "FLAIR": FLAIR}},
        {"series": {"T1": 12, "FLAIR": FLAIR}},
        {"series": []},
        {"url": "http://127.0.0.1/"},
    ],
)
def test_uids_and_nothing_else(service: Service, archive: FakeArchive, change: dict[str, Any]) -> None:
    content = problem(post(service, source=source(**change)), 422, "request.invalid")
    assert "1.2/" not in str(content)
    assert archive.requests == []


@pytest.mark.parametrize(
    ("series", "code"),
    [
        (T1, "contract.channel_count"),
        ({"T1": T1}, "contract.channel_count"),
        ({}, "contract.channel_count"),
        ({"Doe^Jane": T1, "FLAIR": FLAIR}, "contract.channel_name"),
        ({"T1": T1, "0000": T1, "FLAIR": FLAIR}, "contract.channel_name"),
    ],
)
def test_series_are_the_model_s_channels(service: Service, series: Any, code: str) -> None:
    content = problem(post(service, source=source(series=series)), 422, code)
    assert content["answer"]["outcome"] == "rejected"
    assert content["expected"] == ["T1", "FLAIR"]
    assert "Doe" not in str(content)


def test_bodies_that_are_no_request(service: Service) -> None:
    kind = {"Content-Type": "application/json; charset=utf-8"}
    for body, status, code in (
        (b'{"source": ', 400, "request.malformed"),
        (b"", 400, "request.malformed"),
        (b"[]", 422, "request.invalid"),
        (b'{"source": null, "Doe^Jane": 1}', 422, "request.invalid"),
        (b"[" * 2000, 400, "request.malformed"),
        (b" " * 3001, 413, "input.too_large"),
    ):
        content = problem(service.client.post("/v1/jobs", content=body, headers=kind), status, code)
        assert "Doe" not in str(content)
    answer = service.client.post("/v1/jobs", content=b"x", headers={"Content-Type": "text/plain"})
    problem(answer, 415, "request.unsupported_media_type")


def test_the_same_request_is_one_job(service: Service) -> None:
    headers = {"Idempotency-Key": "once", **WAIT}
    body = {"source": source(), "model": "brain"}
    first, second = (service.client.post("/v1/jobs", json=body, headers=headers).json() for _ in range(2))
    assert first["id"] == second["id"]
    changed = {**body, "push": "pacs"}
    again = service.client.post("/v1/jobs", json=changed, headers=headers)
    problem(again, 422, "job.idempotency_conflict")


FAULTS: list[tuple[str, Callable[[Any], Any], int, str]] = [
    ("unknown", lambda _: 404, 422, "dicomweb.not_found"),
    ("forbidden", lambda _: 403, 502, "dicomweb.refused"),
    ("redirected", lambda _: 302, 502, "dicomweb.refused"),
    ("busy", lambda _: 503, 502, "dicomweb.unreachable"),
    ("gone", lambda handler: handler.connection.shutdown(socket.SHUT_RDWR), 502, "dicomweb.unreachable"),
]


@pytest.mark.parametrize(("before", "status", "code"), [fault[1:] for fault in FAULTS])
def test_archives_that_do_not_deliver(
    service: Service, archive: FakeArchive, before: Callable[[Any], Any], status: int, code: str
) -> None:
    archive.before = before
    content = problem(post(service, "/v1/segment"), status, code)
    assert "Doe" not in str(content)
    assert len(archive.requests) == (3 if code == "dicomweb.unreachable" else 1)
    job = ended(service)
    assert (job["state"], job["problem"]["code"]) == ("failed", code)


def test_nobody_there(service: Service) -> None:
    assert ended(service, source=source(archive="gone"))["problem"]["code"] == "dicomweb.unreachable"


def test_an_archive_that_comes_back(service: Service, archive: FakeArchive) -> None:
    archive.before = lambda _: 503 if len(archive.requests) in {1, 3} else None
    assert ended(service)["state"] == "succeeded"
    assert len(archive.requests) == 4


@pytest.mark.parametrize("sizes", [(4000, 1), (1500, 1600)])
def test_more_than_an_upload_may_have(service: Service, archive: FakeArchive, sizes: tuple[int, int]) -> None:
    """The bound holds for all channels together."""
    for uid, size in zip((T1, FLAIR), sizes, strict=True):
        archive.series[STUDY, uid] = [b"x" * size]
    content = problem(post(service, "/v1/segment"), 413, "input.too_large")
    assert content["expected"] == {"bytes_at_most": 3000}


def drip(handler: Any) -> int | None:
    """Send a byte now and then, for ever."""
    handler.send_response(200)
    handler.send_header("Content-Type", 'multipart/related; boundary="fake"')
    handler.end_headers()
    while True:
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.05)


def test_a_series_takes_no_longer_than_an_upload(archive: FakeArchive, tmp_path: Path) -> None:
    """However often another byte of it comes."""
    archive.before = drip
    assert archive_list(Settings(dicomweb={"pacs": archive.url}, upload_timeout=7)).fetch_seconds == 7
    listed = {"pacs": archive.url}
    with serving(FakeEngine(), folder=tmp_path, dicomweb=listed, fetch_seconds=1) as hurried:
        late = ended(hurried)["problem"]
    assert late["code"] == "dicomweb.unreachable"
    assert "was not complete after" in late["detail"]


def test_a_fetch_is_cancelled(service: Service, archive: FakeArchive) -> None:
    archive.before = drip
    job = service.client.post("/v1/jobs", json={"source": source(), "model": "brain"}).json()
    where = f"/v1/jobs/{job['id']}"
    wait_for(lambda: bool(archive.requests))
    wait_for(lambda: (service.client.get(where).json()["progress"] or {}).get("stage") == "fetch")
    assert service.client.delete(where).status_code == 202
    wait_for(lambda: service.client.get(where).json()["state"] == "cancelled")


def test_objects_are_stored(service: Service, archive: FakeArchive) -> None:
    status = ended(service, push="pacs", outputs=["mask", "seg", "rtstruct"])
    expected = {
        "archive": "pacs", "state": "stored", "objects": ["seg", "rtstruct"], "attempts": 1, "problem": None,
    }  # fmt: skip
    assert status["push"] == expected
    job = status["id"]
    assert archive.stored == [f"{kind} of {job}".encode() for kind in ("seg", "rtstruct")]
    answer = service.client.get(f"/v1/jobs/{job}/artifacts/answer").json()
    manifest = service.client.get(f"/v1/jobs/{job}/manifest").json()
    assert answer["push"] == manifest["push"] == expected
    assert service.client.get(f"/v1/jobs/{job}/artifacts/seg").content == archive.stored[0]


def test_a_seg_is_made_for_who_names_nothing(service: Service) -> None:
    assert ended(service, push="pacs")["push"]["objects"] == ["seg"]
    assert ended(service, push="pacs", outputs=["rtstruct"])["push"]["objects"] == ["rtstruct"]


@pytest.mark.parametrize(
    ("fault", "code", "attempts"),
    [
        ("503", "unreachable", 3),
        ("403", "refused", 1),
        ("failed", "refused", 1),
        ("other failures", "refused", 1),
    ],
)
def test_a_failed_push_loses_no_result(
    service: Service, archive: FakeArchive, fault: str, code: str, attempts: int
) -> None:
    archive.refuses = {"failed": "00081198", "other failures": "0008119A"}.get(fault)
    archive.before = lambda handler: int(fault) if handler.command == "POST" and fault.isdigit() else None
    status = ended(service, push="pacs")
    assert (status["state"], status["outcome"]) == ("succeeded", "segmented")
    push = status["push"]
    assert (push["state"], push["attempts"]) == ("failed", attempts)
    assert push["problem"]["code"] == f"dicomweb.{code}"
    assert {artifact["name"] for artifact in status["artifacts"]} == {"answer", "mask", "seg"}


def test_a_push_that_works_the_second_time(service: Service, archive: FakeArchive) -> None:
    posts = iter([503, None])
    archive.before = lambda handler: next(posts) if handler.command == "POST" else None
    push = ended(service, push="pacs")["push"]
    assert (push["state"], push["attempts"]) == ("stored", 2)
    assert len(archive.stored) == 1


def test_no_decision_is_not_stored_as_no_finding(service: Service, archive: FakeArchive) -> None:
    engine = service.engines[0]
    engine.outcome = Outcome.INDETERMINATE
    engine.empty = Empty(reason=EmptyReason.REJECTED_OOD, meaning=EmptyMeaning.NO_DECISION)
    assert ended(service, push="pacs")["push"]["state"] == "withheld"
    assert archive.stored == []
    engine.outcome = Outcome.EMPTY
    engine.empty = Empty(reason=EmptyReason.NO_VOXEL_ABOVE_THRESHOLD, meaning=EmptyMeaning.NO_FINDING)
    assert ended(service, push="pacs")["push"]["state"] == "stored"


def test_logs_hold_neither_uids_nor_secrets(
    service: Service, archive: FakeArchive, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="nnunet_losses"):
        ended(service, push="pacs")
        archive.before = lambda _: 503
        ended(service, push="pacs")
    text = "\n".join(JsonFormatter().format(record) for record in caplog.records)
    assert "job.pushed" in text
    assert not any(word in text for word in (STUDY, SECRET, archive.url))


def test_archives_need_their_scope(archive: FakeArchive, tmp_path: Path) -> None:
    keys = {}
    with changing(tmp_path / "keys.json") as records:
        for scopes in ((Scope.SEGMENT,), (Scope.SEGMENT, Scope.ARCHIVES)):
            keys[len(scopes)], record = create_key(f"of-{len(scopes)}", scopes)
            records.append(record)
    with ExitStack() as stack:
        running = stack.enter_context(
            serving(
                FakeEngine(),
                folder=tmp_path / "uploads",
                keys_file=tmp_path / "keys.json",
                dicomweb={"pacs": archive.url},
            )
        )
        for number, key in keys.items():
            running.client.headers["Authorization"] = f"Bearer {key}"
            assert running.client.get("/v1/archives").status_code == 200
            response = post(running)
            if number == 1:
                problem(response, 403, "auth.scope")
            else:
                assert response.json()["state"] == "succeeded"
