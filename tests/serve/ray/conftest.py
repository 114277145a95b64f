"""A local Ray cluster that listens on the loopback interface only, and ends with its test module."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from shutil import copyfileobj
from typing import TYPE_CHECKING

import httpx
import pytest

from ...conftest import ROOT, require
from ..service.helpers import PATIENCE, Client, settings_for
from .patience import ATTEMPTS, GAVE_UP, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nnunet_losses.serve.http.settings import Settings


class PatientClient(Client):
    """Repeats what is refused because no predictor answers: who is silent for some seconds does not count."""

    def __init__(self, url: str, signs: Path) -> None:
        super().__init__(url, signs)
        self.http.close()
        self.http = httpx.Client(base_url=url, timeout=PATIENCE, transport=_Repeating())


class _Repeating(httpx.HTTPTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        end = time.monotonic() + PATIENCE
        while (response := super().handle_request(request)).status_code == 503:
            if b'"model.not_ready"' not in response.read() or time.monotonic() > end:
                break
            time.sleep(0.1)
        return response


@contextmanager
def on_ray(settings: Settings, signs: Path) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """The command's server with two predictors; SIGTERM ends it and all that belongs to it."""
    log = signs.parent / "log"
    for _ in range(ATTEMPTS):
        with started(settings, signs, log) as (url, process):
            if url is not None:
                client = PatientClient(url, signs)
                with client.http:
                    client.wait_until_ready()
                    yield client, process
                break
        if GAVE_UP not in log.read_text():
            break
    assert url is not None, log.read_text()
    assert process.returncode == 0, log.read_text()


@contextmanager
def started(settings: Settings, signs: Path, log: Path) -> Iterator[tuple[str | None, subprocess.Popen[str]]]:
    """The server's address, None if it ended instead, and its process."""
    session = tempfile.mkdtemp(prefix="ray")  # of a short name: Ray puts sockets below it
    environment = {
        **os.environ, **VARIABLES, "SIGNS": str(signs), "RAY_TMPDIR": session, "OMP_NUM_THREADS": "1",
        "NNUNET_LOSSES_RAY_PREDICTORS": "2", "NNUNET_LOSSES_RAY_PREDICTOR_CPUS": "0.5",
    }  # fmt: skip
    environment.pop("RAY_ADDRESS", None)
    (signs / "drain").unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "tests.serve.ray.server",
        settings.model_dump_json(exclude_defaults=True),
    ]
    with (
        log.open("w") as told,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=told, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            lines = (line.strip() for line in process.stdout)
            url = next((line for line in lines if re.fullmatch(r"http://127\.0\.0\.1:\d+", line)), None)
            # a full pipe would halt it
            reader = threading.Thread(target=copyfileobj, args=(process.stdout, told))
            reader.start()
            yield url, process
        finally:
            (signs / "drain").touch()
            process.terminate()
            process.wait(PATIENCE)
            reader.join(PATIENCE)
            shutil.rmtree(session, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    require(importlib.util.find_spec("ray"), "Ray is not installed")
    # a lease is longer than anything that a busy machine does to a predictor which is not stopped
    limits = {"max_queued": 6, "shutdown_timeout": 6, "lease_seconds": 20}
    settings = settings_for(folder, port=0, allow_reload=True, **limits)
    with on_ray(settings, folder / "signs") as both:
        yield both


@pytest.fixture
def client(cluster: tuple[Client, subprocess.Popen[str]]) -> Client:
    cluster[0].wait_until_ready()
    return cluster[0]
