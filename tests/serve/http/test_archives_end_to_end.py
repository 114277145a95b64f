"""From a real Orthanc through a real bundle and back, over HTTP; and through deaths of worker and server."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunet_losses.serve.client import Client, Series
from nnunet_losses.serve.dicomweb import Archive, Origins

from ...conftest import ROOT
from ..dicom.reading_back import read_rtstruct, read_seg
from ..dicom.series import CANARY, ORIENTATIONS, UIDS, phantom, write_series
from ..dicomweb import conftest as dicomweb
from ..dicomweb.fake import FakeArchive, fake_archive
from .fakes import PATIENCE, closed_port, wait_for
from .real import COMMAND, Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pydicom import Dataset

orthanc = dicomweb.orthanc  # the fixture
PASSWORD = "a-password-that-nobody-may-see"


@contextmanager
def command(
    bundle: Path, folder: Path, archives: Mapping[str, str]
) -> Iterator[tuple[Server, subprocess.Popen[str]]]:
    """``nnunet-losses serve`` with archives, ready; its data outlive it."""
    listed = [part for name, url in archives.items() for part in ("--dicomweb", f"{name}={url}")]
    options = [
        "--port",
        "0",
        "--threads",
        "1",
        "--backend",
        "cpu",
        "--data-folder",
        str(folder / "data"),
    ]
    secret = '{"pacs": {"user": "reader", "password": "' + PASSWORD + '"}}'
    with (
        (folder / "log.jsonl").open("a") as log,
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "serve", str(bundle), *options, *listed],
            stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT,
            env=os.environ | {"NNUNET_LOSSES_DICOMWEB_CREDENTIALS": secret},
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert url is not None, (line, (folder / "log.jsonl").read_text())
            server = Server(process, url.group(), folder, folder / "none")
            with server.client:
                wait_for(lambda: is_ready(server), seconds=2 * PATIENCE)
                yield server, process
        finally:
            process.kill()


def is_ready(server: Server) -> bool:
    assert server.process.poll() is None, (server.folder / "log.jsonl").read_text()
    return server.client.get("/v2/health/ready").status_code == 200


@pytest.fixture(scope="module")
def slow() -> Iterator[FakeArchive]:
    with fake_archive() as running:
        yield running


@pytest.fixture(scope="module")
def datasets(slow: FakeArchive) -> list[Dataset]:
    """A coronal series, which the slow archive has, too."""
    made = phantom((9, 18, 20), axes=ORIENTATIONS["coronal"]).datasets()
    slow.series[UIDS["study"], UIDS["series"]] = [as_bytes(dataset) for dataset in made]
    return made


def as_bytes(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def wish(archive: str) -> Series:
    return Series(archive=archive, study=UIDS["study"], series=UIDS["series"])


def found_by_search(archive: str, modality: str) -> dict[str, Any]:
    """The one series of a kind in the study, by QIDO-RS."""
    response = httpx.get(
        f"{archive}/studies/{UIDS['study']}/series",
        params={"Modality": modality},
        headers={"Accept": "application/dicom+json"},
        trust_env=False,
        timeout=PATIENCE,
    )
    (entry,) = response.json()
    return entry  # type: ignore[no-any-return]


def test_from_orthanc_and_back(
    bundle: Path, orthanc: str, datasets: list[Dataset], slow: FakeArchive, tmp_path: Path
) -> None:
    archive = Archive(orthanc, Origins((orthanc,)))
    archive.store(sorted(write_series(tmp_path / "series", datasets).iterdir()))
    with (
        closed_port() as nobody,
        command(bundle, tmp_path, {"pacs": orthanc, "gone": f"http://127.0.0.1:{nobody}/dicom-web"}) as (
            server,
            _,
        ),
        Client(server.url) as client,
    ):
        assert client.archives() == ("pacs", "gone")
        job = client.segment(
            wish("pacs"), outputs=["mask", "rtstruct", "seg"], push="pacs", options={"orientation": "RAS"}
        )
        assert (job.state, job.push and job.push.state) == ("succeeded", "stored"), job
        client.download(job.artifact("mask"), tmp_path / "mask.nii.gz")
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mask.nii.gz")))
        assert mask.any()
        segments = np.stack([mask == value for value in (1, 2)][: mask.max()], axis=-1)
        for modality, reader in (("SEG", read_seg), ("RTSTRUCT", read_rtstruct)):
            entry = found_by_search(orthanc, modality)
            (tmp_path / modality).mkdir()
            (file,) = archive.fetch_series(UIDS["study"], entry["0020000E"]["Value"][0], tmp_path / modality)
            assert np.array_equal(reader(file, datasets)[..., : mask.max()], segments)
        unknown = client.segment(Series(archive="pacs", study="1.2.3", series="1.2.4"))
        assert (unknown.state, unknown.problem and unknown.problem.code) == ("failed", "dicomweb.not_found")
        lost = client.segment(wish("pacs"), push="gone", options={"empty_seg": "emit"})
        assert (lost.state, lost.push and lost.push.state) == ("succeeded", "failed")
        assert lost.push.problem.code == "dicomweb.unreachable"
        assert {artifact.name for artifact in lost.artifacts} == {"answer", "mask", "seg"}
    log = (tmp_path / "log.jsonl").read_text()
    assert "job.pushed" in log
    assert not any(word in log for word in (PASSWORD, UIDS["study"], UIDS["series"], CANARY, orthanc))


@pytest.mark.parametrize("victim", ["worker", "server"])
def test_a_fetch_survives_deaths(
    bundle: Path, datasets: list[Dataset], slow: FakeArchive, tmp_path: Path, victim: str
) -> None:
    """Whoever dies while the series is coming: the accepted job is done, and the series is fetched again."""
    waiting, go = threading.Event(), threading.Event()

    def stall(_: Any) -> None:
        if not waiting.is_set():
            waiting.set()
            go.wait(PATIENCE)

    slow.requests.clear()
    slow.before = stall
    running = command(bundle, tmp_path, {"pacs": slow.url})
    again = command(bundle, tmp_path, {"pacs": slow.url})
    try:
        with running as (server, process), Client(server.url) as client:
            job = client.submit(wish("pacs"))
            assert waiting.wait(PATIENCE)
            if victim == "worker":
                (worker,) = server.workers()
                os.kill(int(worker.name), signal.SIGKILL)
                assert client.wait(job.id).state == "succeeded"
            else:
                process.kill()
        if victim == "server":
            with again as (server, _), Client(server.url) as client:
                assert client.wait(job.id).state == "succeeded"
        assert len(slow.requests) == 2
    finally:
        go.set()
        slow.before = lambda _: None
