"""A local Ray cluster that listens on the loopback interface only, and ends with its test module."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from ...conftest import ROOT, require
from ..service.helpers import PATIENCE, Client, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nnunet_losses.serve.http.settings import Settings


@contextmanager
def on_ray(settings: Settings, signs: Path) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """The command's server with two predictors; SIGTERM ends it and all that belongs to it."""
    session = tempfile.mkdtemp(prefix="ray")  # of a short name: Ray puts sockets below it
    environment = {
        **os.environ, "SIGNS": str(signs), "RAY_TMPDIR": session, "NNUNET_LOSSES_RAY_PREDICTORS": "2",
        "NNUNET_LOSSES_RAY_PREDICTOR_CPUS": "0.5", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    environment.pop("RAY_ADDRESS", None)
    text = settings.model_dump_json(exclude_defaults=True)
    command = [sys.executable, "-m", "tests.serve.ray.server", text]
    with (
        (signs.parent / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            url = next((line for line in process.stdout if re.match(r"http://127\.0\.0\.1:\d+$", line)), None)
            assert url is not None, (signs.parent / "log").read_text()
            client = Client(url.strip(), signs)
            with client.http:
                client.wait_until_ready()
                yield client, process
        finally:
            process.terminate()
            status = process.wait(PATIENCE)
            shutil.rmtree(session, ignore_errors=True)
    assert status == 0, (signs.parent / "log").read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    require(importlib.util.find_spec("ray"), "Ray is not installed")
    limits = {"max_queued": 6, "shutdown_timeout": 6, "lease_seconds": 6, "job_timeout": 15}
    settings = settings_for(folder, port=0, allow_reload=True, **limits)
    with on_ray(settings, folder / "signs") as both:
        yield both


@pytest.fixture
def client(cluster: tuple[Client, subprocess.Popen[str]]) -> Client:
    cluster[0].wait_until_ready()
    return cluster[0]
