"""The client against a service: submit, listen, wait, cancel, download, and what breaks on the way."""

from __future__ import annotations

import doctest
import json
from importlib import import_module
from pkgutil import walk_packages
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import nnunet_losses.serve.client as package
from nnunet_losses.serve.client import (
    Busy,
    Client,
    Damaged,
    Forbidden,
    InputRefused,
    Job,
    NotFound,
    Rejected,
    ServerFailed,
    Unreachable,
)
from nnunet_losses.serve.client.transport import Transport

from ..page import images
from ..page.fake_service import KEY, TILES, FakeService

if TYPE_CHECKING:
    from pathlib import Path


def test_from_the_image_to_the_mask(
    service: FakeService, client: Client, image: Path, tmp_path: Path
) -> None:
    service.starts_when = lambda: bool(service.heard)
    news: list[Job] = []
    job = client.wait(client.submit({"MRI": image}, model="hippocampus").id, on_news=news.append)
    assert (job.state, job.outcome) == ("succeeded", "segmented")
    mask = client.download(job.artifact("mask"), tmp_path / "deep" / "mask.nii")
    assert mask.read_bytes() == images.mask()
    tiles = [one.progress.done for one in news if one.progress and one.progress.stage == "network"]
    assert tiles == list(range(TILES + 1))
    assert sorted(path.name for path in mask.parent.iterdir()) == ["mask.nii"]


def test_names_of_files_stay_here(service: FakeService, client: Client, image: Path) -> None:
    client.segment({"MRI": image}, model="hippocampus", outputs=("mask", "answer"), options={"ood": "reject"})
    (received,) = service.received
    assert received["MRI"] == "image.nii"
    assert "Doe" not in json.dumps(received)
    assert (received["outputs"], received["ood"]) == ("mask,answer", "reject")


def test_events_are_taken_up_where_they_broke_off(service: FakeService, client: Client, image: Path) -> None:
    service.events_per_answer = 3
    job = client.submit({"MRI": image}, model="hippocampus")
    events = list(client.events(job.id))
    assert [event.id for event in events] == [str(number + 1) for number in range(len(events))]
    network = [event.data["done"] for event in events if event.data.get("stage") == "network"]
    assert network == list(range(TILES + 1))
    assert events[-1].kind == "done"
    assert service.heard == ["", *(str(number) for number in range(3, len(events), 3))]


def test_who_waits_for_a_job_that_runs_hears_what_follows_and_nothing_twice(
    service: FakeService, client: Client, image: Path
) -> None:
    service.tiles_allowed = 2
    job = client.submit({"MRI": image}, model="hippocampus")
    heard = client.events(job.id)
    assert any(event.data.get("stage") == "network" and event.data["done"] == 2 for event in heard)
    news: list[Job] = []

    def allow(job: Job) -> None:
        news.append(job)
        service.tiles_allowed = TILES

    client.wait(job.id, on_news=allow)
    assert [one.progress.done for one in news if one.progress and one.progress.stage == "network"] == [
        *range(2, TILES + 1)
    ]


def test_without_events_it_asks(service: FakeService, client: Client, image: Path) -> None:
    service.has_events = False
    service.starts_when = lambda: service.polls > 1
    assert client.segment({"MRI": image}, model="hippocampus").state == "succeeded"
    assert service.heard == []


def test_cancel(service: FakeService, client: Client, image: Path) -> None:
    service.starts_when = lambda: False
    job = client.submit({"MRI": image}, model="hippocampus")
    client.cancel(job.id)
    assert client.wait(job.id).state == "cancelled"


def test_a_failed_job_has_its_reason(service: FakeService, client: Client, image: Path) -> None:
    service.answer = None
    service.problem = {"code": "worker.lost", "detail": "It died twice.", "remedy": "Tell the operator."}
    job = client.segment({"MRI": image}, model="hippocampus")
    assert job.state == "failed"
    assert job.problem is not None
    assert job.problem.code == "worker.lost"


def test_a_damaged_download_leaves_nothing(
    service: FakeService, client: Client, image: Path, tmp_path: Path
) -> None:
    job = client.segment({"MRI": image}, model="hippocampus")
    service.jobs[job.id]["files"]["mask"] = ("mask.nii", "application/octet-stream", b"other")
    folder = tmp_path / "out"
    with pytest.raises(Damaged, match="mask"):
        client.download(job.artifact("mask"), folder / "mask.nii")
    assert list(folder.iterdir()) == []


def test_the_key_is_sent(service: FakeService, url: str) -> None:
    service.wants_key = True
    with Client(url, patience=0) as stranger, pytest.raises(Forbidden, match="no valid key"):
        stranger.models()
    with Client(url, api_key=KEY) as client:
        assert [model.name for model in client.models()] == ["hippocampus"]


@pytest.mark.parametrize(
    ("status", "members", "kind"),
    [
        (400, {}, InputRefused),
        (422, {}, InputRefused),
        (422, {"answer": {"outcome": "rejected"}}, Rejected),
        (401, {}, Forbidden),
        (403, {}, Forbidden),
        (404, {}, NotFound),
        (429, {}, Busy),
        (503, {}, Busy),
        (500, {}, ServerFailed),
    ],
)
def test_problems_become_exceptions(status: int, members: dict[str, Any], kind: type[Exception]) -> None:
    document = {"code": "some.code", "detail": "Something.", "remedy": "Do this.", "instance": "7", **members}
    client = faked(lambda _: httpx.Response(status, json=document))
    with pytest.raises(kind) as caught:
        client.models()
    error: Any = caught.value
    assert type(error) is kind
    assert (error.code, error.status, error.request_id) == ("some.code", status, "7")


def test_answers_of_strangers_are_problems_too() -> None:
    client = faked(lambda _: httpx.Response(500, text="<h1>oops</h1>"))
    with pytest.raises(ServerFailed, match="gave no reason"):
        client.models()


def test_a_busy_server_is_asked_again_when_it_says(image: Path, naps: list[float]) -> None:
    replies = iter(
        [busy("7"), busy("2"), httpx.Response(202, json={"id": "1", "state": "queued", "model": "m"})]
    )
    keys: list[str] = []
    bodies: list[bytes] = []

    def reply(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        bodies.append(request.read())
        return next(replies)

    assert faked(reply).submit({"MRI": image}).id == "1"
    assert naps == [7, 2]
    assert len(set(keys)) == 1  # one request, however often it was sent
    assert all(image.read_bytes() in body for body in bodies)


def test_a_busy_server_is_left_alone_when_patience_ends(naps: list[float]) -> None:
    with pytest.raises(Busy):
        faked(lambda _: busy("200"), patience=100).models()
    assert naps == []


def test_a_model_that_never_comes_is_not_waited_for(naps: list[float]) -> None:
    with pytest.raises(Busy):
        faked(lambda _: httpx.Response(503, json={"code": "model.not_ready"})).models()
    assert naps == []


def test_a_lost_connection_is_tried_again(naps: list[float]) -> None:
    def reply(_: httpx.Request) -> httpx.Response:
        if len(naps) < 2:
            raise httpx.ConnectError("no")
        return httpx.Response(200, json={"models": []})

    assert faked(reply).models() == ()
    assert naps == [0.5, 1.0]


def test_nobody_there(naps: list[float]) -> None:
    def reply(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    with pytest.raises(Unreachable, match=r"does not answer \(ConnectError\)"):
        faked(reply, patience=0).models()


def test_a_wait_survives_a_broken_stream_and_a_restart(naps: list[float]) -> None:
    """Events break off, the server is away, the job is done when it is back."""
    queued = {"id": "1", "state": "queued", "model": "m"}
    asked: list[str] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.url.path} {request.headers.get('Last-Event-ID', '')}".strip())
        if request.url.path.endswith("/events"):
            return httpx.Response(
                200,
                stream=Broken(PROGRESS),
            )
        if len(asked) in {3, 4}:
            raise httpx.ReadError("gone")
        return httpx.Response(200, json=queued | {"state": "succeeded" if len(asked) > 6 else "running"})

    job = faked(reply).wait("1")
    assert job.state == "succeeded"
    assert "/v1/jobs/1/events 4" in asked


PROGRESS = b'id: 4\nevent: progress\ndata: {"stage": "network", "done": 1, "total": 2}\n\n'


class Broken(httpx.SyncByteStream):
    """A body whose connection breaks."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Any:
        yield self.content
        raise httpx.ReadError("gone")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, of which none is made: they only move the client's clock, and nothing else does."""
    made: list[float] = []
    clock = SimpleNamespace(sleep=made.append, monotonic=lambda: sum(made))
    for module in ("client", "transport"):
        monkeypatch.setattr(f"nnunet_losses.serve.client.{module}.time", clock)
    return made


def faked(reply: Any, *, patience: float = 300) -> Client:
    return Client("http://server/prefix/", patience=patience, transport=httpx.MockTransport(at_prefix(reply)))


def at_prefix(reply: Any) -> Any:
    """Check that nobody leaves the path under which a proxy has put the service."""

    def act(request: httpx.Request) -> httpx.Response:
        assert request.url.path.startswith("/prefix/v1/")
        request.url = request.url.copy_with(path=request.url.path.removeprefix("/prefix"))
        result: httpx.Response = reply(request)
        return result

    return act


def busy(seconds: str) -> httpx.Response:
    return httpx.Response(503, json={"code": "queue.full"}, headers={"Retry-After": seconds})


@pytest.mark.parametrize(
    "name", [one.name for one in walk_packages(package.__path__, f"{package.__name__}.")]
)
def test_examples(name: str) -> None:
    assert doctest.testmod(import_module(name)).failed == 0


def test_the_transport_closes(client: Client) -> None:
    client.close()
    assert isinstance(client._transport, Transport)
    assert client._transport._http.is_closed
