"""A real Orthanc with its DICOMweb plugin, on the loopback interface, with a data folder of its own."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from ...conftest import require

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


PATIENCE = 300  # seconds; a busy machine is slow, a broken archive never gets there
ATTEMPTS = 5  # somebody else may take the port that was free


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the DICOMweb service."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/bin")
    require(program and PLUGIN.exists(), "Orthanc and its DICOMweb plugin are not installed")
    assert program is not None
    folder = tmp_path_factory.mktemp("orthanc")
    for _ in range(ATTEMPTS):
        port = free_port()
        with started(program, folder, port) as process:
            if answers(f"http://127.0.0.1:{port}/system", process):
                yield f"http://127.0.0.1:{port}/dicom-web"
                return
    pytest.fail(f"Orthanc ended: {(folder / 'log').read_text()}")


@contextmanager
def started(program: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "StorageDirectory": str(folder), "IndexDirectory": str(folder), "HttpPort": port,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomServerEnabled": False,
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@contextmanager
def closed_port() -> Iterator[int]:
    """A port at which nobody answers: it is taken, and nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until it does; tell whether, or it ended."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < end, "Orthanc did not answer"
        try:
            if httpx.get(url, trust_env=False, timeout=PATIENCE).status_code == 200:
                return process.poll() is None
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    return False
