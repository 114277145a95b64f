"""An engine without a network, a bundle's description without a bundle, and a real server around them."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn

from nnunet_losses.serve.answer import Answer, Empty, LabelAnswer, Manifest, Outcome, Problem
from nnunet_losses.serve.dicomweb import Archives
from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.archive_settings import archive_list
from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.jobs.states import JobState
from nnunet_losses.serve.schema import ModelDescription
from nnunet_losses.serve.workers.engine import ResultFile, Segmentation
from nnunet_losses.serve.workers.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from nnunet_losses.serve.errors import Refusal
    from nnunet_losses.serve.http.job_service import JobService
    from nnunet_losses.serve.workers.reports import ModelReport

MASK = bytes(range(256)) * 5  # any bytes, line ends and dashes among them
PATIENCE = 300.0  # seconds; a busy machine is slow, a broken service never gets there
HELD = 5 * PATIENCE  # for which a gate stays shut that no test opens
WAIT = {"Prefer": f"wait={PATIENCE:.0f}"}  # for jobs that end by themselves


def description(
    *,
    name: str = "brain",
    channels: tuple[str, ...] = ("T1", "FLAIR"),
    reader: str = "SimpleITKIO",
    ending: str = ".nii.gz",
) -> ModelDescription:
    """A small model.json."""
    resampling = {"order": 1}
    preprocessing = {
        "transpose_forward": (0, 1, 2),
        "spacing": (1.0, 1.0, 1.0),
        "channels": [{"name": channel, "normalization": "ZScoreNormalization"} for channel in channels],
        "resampling_image": resampling,
        "resampling_logits": resampling,
    }
    fold = {"name": "0", "file": "fold_0.onnx", "sha256": "00", "checkpoint_sha256": "00"}
    member = {
        "name": "3d_fullres",
        "folds": [fold],
        "preprocessing": preprocessing,
        "tiling": {"patch_size": (8, 8, 8)},
    }
    provenance = {
        "created": "2026-11-22T00:00:00Z",
        "exporter": "0",
        "nnunetv2": "2.8.1",
        "torch": "2",
        "onnx": "1",
    }
    return ModelDescription.model_validate({
        "name": name, "reader": reader, "file_ending": ending, "head": "softmax", "heads": 2,
        "labels": [{"name": "lesion", "channel": 1, "value": 1, "members": (1,)}],
        "members": [member],
        "training": {"trainer": "nnUNetTrainer", "dataset": "Dataset001_Brain"},
        "golden": {"inputs": ["a"], "mask": "b", "tile_input": "c", "tile_logits": "d"},
        "provenance": {**provenance, "opset": 18},
    })  # fmt: skip


@dataclass
class FakeEngine:
    """Keeps what it was given. ``act`` stands for the network: it may wait, check progress, or raise."""

    description: ModelDescription = field(default_factory=description)
    act: Callable[..., Any] = lambda **_: None
    test: Callable[[], None] = lambda: None
    sha256: str = "ab" * 32
    provider: str | None = "FakeProvider"
    outcome: Outcome = Outcome.SEGMENTED
    empty: Empty | None = None
    rejects: Refusal | None = None
    received: list[dict[str, bytes]] = field(default_factory=list)
    orders: list[Any] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def self_test(self) -> None:
        self.test()

    def segment(self, files: Any, *, folder: Path, order: Any, progress: Any) -> Segmentation:
        self.threads.add(threading.current_thread().name)
        self.received.append({path.name: _content(path) for path in files})
        self.orders.append(order)
        self.act(files=files, folder=folder, progress=progress)
        if self.rejects is not None:
            return Segmentation(self.rejection(self.rejects), None)
        mask = folder / f"mask{self.description.file_ending}"
        mask.write_bytes(MASK)
        return Segmentation(self.answer(), mask, _objects(folder, order))

    def rejection(self, refusal: Refusal) -> Answer:
        problem = Problem(
            code=refusal.code, detail=refusal.detail, remedy=refusal.remedy,
            observed=refusal.observed, expected=refusal.expected,
        )  # fmt: skip
        return self.answer().model_copy(
            update={"outcome": Outcome.REJECTED, "problem": problem, "labels": ()}
        )

    def answer(self) -> Answer:
        label = LabelAnswer(name="lesion", present=True, voxels=3, volume_ml=0.003, components=1)
        manifest = Manifest(
            model=self.description.name,
            bundle_sha256=self.sha256,
            input_sha256="00",
            versions={"nnunet-losses": "0"},
        )
        return Answer(
            case="from the engine",
            outcome=self.outcome,
            labels=(label,),
            empty=self.empty,
            manifest=manifest,
        )


def _content(path: Path) -> bytes:
    """A file's bytes; of a series' folder, those of its files."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return b"".join(file.read_bytes() for file in files)


def _objects(folder: Path, order: Any) -> dict[str, ResultFile]:
    """The DICOM objects that were ordered, which say whose they are."""
    made = {}
    for kind in {"seg", "rtstruct"} & set(order.outputs):
        path = folder / f"case.{kind}.dcm"
        path.write_text(f"{kind} of {order.identity}")
        made[kind] = ResultFile(path, "application/dicom")
    return made


class Service:
    """A running server with the engines it serves."""

    def __init__(self, url: str, folder: Path, engines: list[FakeEngine], server: uvicorn.Server) -> None:
        self.url = url
        self.folder = folder
        self.engines = engines
        self.server = server
        self.client = httpx.Client(base_url=url, timeout=2 * PATIENCE)

    @property
    def jobs(self) -> JobService:
        jobs: JobService = self.server.config.app.state.jobs
        return jobs

    @property
    def models(self) -> list[ModelReport]:
        return list(self.jobs.catalogue)

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.client.get("/v2/health/ready").status_code == 200)

    def segment(self, **parts: Any) -> httpx.Response:
        """Send both channels, or the given file parts."""
        files = parts.pop("files", {"T1": b"first", "FLAIR": b"second"})
        named = [(name, (f"{name}.nii.gz", content)) for name, content in dict(files).items()]
        return self.client.post("/v1/segment", files=named, **parts)

    def unfinished(self) -> int:
        """Jobs that wait or run."""
        counts = self.jobs.ground.queue.counts().by_state
        return counts[JobState.QUEUED] + counts[JobState.RUNNING]

    def leftovers(self) -> list[Path]:
        """Folders of jobs and uploads, whether they came in or went out."""
        return list(self.folder.glob("*/*/*/*"))


def wait_for(condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
    """Return when the condition holds; fail after some seconds. It must be one that stays, once it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.005)


@contextmanager
def serving(
    *engines: FakeEngine | dict[str, Any],
    folder: Path,
    ready: bool = True,
    workers: int = 1,
    graceful: int | None = None,
    fetch_seconds: float | None = None,
    **settings: Any,
) -> Iterator[Service]:
    """Run the application under uvicorn in a thread, on a free port of the loopback interface.

    Engines are given as such, or as functions that open them, by label. ``graceful``: see ``running``;
    ``fetch_seconds`` of archives is else the settings'.
    """
    folder.mkdir(parents=True, exist_ok=True)
    openers: dict[str, Any] = {}
    for index, engine in enumerate(engines):
        known = engine if isinstance(engine, dict) else {f"label-{index}": lambda engine=engine: engine}
        openers.update(known)
    known_settings = Settings(temporary_folder=folder, **settings)
    bounds = {"pause": PATIENCE} | ({} if fetch_seconds is None else {"fetch_seconds": fetch_seconds})
    listed = archive_list(known_settings).model_copy(update=bounds)
    archives = Archives(listed, pauses=(0.01, 0.01))
    predictors = Threads(openers, workers=workers, archives=archives)
    app = create_app(known_settings, predictors=predictors)
    with running(app, graceful=graceful) as (url, server):
        service = Service(
            url, folder, [engine for engine in engines if isinstance(engine, FakeEngine)], server
        )
        with service.client:
            if ready:
                service.wait_until_ready()
            yield service


@contextmanager
def running(app: Any, *, graceful: int | None = None) -> Iterator[tuple[str, uvicorn.Server]]:
    """Run an application under uvicorn in a thread.

    Args:
        app: of ASGI.
        graceful: seconds for requests in flight when the server stops; None: as many as they need.
    """
    options = {"log_config": None, "access_log": False, "timeout_graceful_shutdown": graceful}
    options["timeout_keep_alive"] = 3600  # else a connection may be closed while a request is on its way
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", server
    except BaseException:
        server.config.timeout_graceful_shutdown = 1  # the test has failed: nobody will open its gates
        raise
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def closed_port() -> Iterator[int]:
    """A port where nobody listens, and that nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@dataclass(frozen=True)
class Reply:
    """A parsed multipart/mixed reply."""

    answer: dict[str, Any]
    mask: bytes
    parts: list[EmailMessage]


def parse(response: httpx.Response) -> Reply:
    """Split a reply with the standard library, as a client would."""
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + response.content, policy=HTTP)
    assert not message.defects
    parts = list(message.iter_parts())
    answer, mask = (part.get_payload(decode=True) for part in parts)
    return Reply(json.loads(answer), mask, parts)


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check the form that every problem has, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = response.json()
    assert (content["status"], content["code"]) == (status, code), content
    assert content["type"] == f"urn:problem-type:nnunet-losses:{code}"
    assert content["instance"] == response.headers["x-request-id"]
    assert all(content[member] for member in ("title", "detail", "remedy"))
    return content
