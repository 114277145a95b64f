"""Servers in threads and in processes, and a client that sends wishes to their workers."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.settings import Settings

from ...conftest import ROOT
from ..http.fakes import running, wait_for
from .server import steered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nnunet_losses.serve.workers.supervisor import Supervisor

PATIENCE = 300  # seconds; a loaded machine is slow, a broken service never gets there
FINAL = {"succeeded", "failed", "cancelled"}


class Client:
    """Sends jobs to one server."""

    def __init__(self, url: str, signs: Path) -> None:
        self.http = httpx.Client(base_url=url, timeout=2 * PATIENCE)
        self.signs = signs

    def post(
        self, case: str = "case", *, headers: dict[str, str] | None = None, **wish: Any
    ) -> httpx.Response:
        files = {"T1": ("image.nii.gz", json.dumps(wish).encode())}
        return self.http.post("/v1/jobs", files=files, data={"case": case}, headers=headers)

    def submit(self, case: str = "case", **wish: Any) -> str:
        response = self.post(case, **wish)
        assert response.status_code == 202, response.text
        job: str = response.json()["id"]
        return job

    def job(self, job: str) -> dict[str, Any]:
        response = self.http.get(f"/v1/jobs/{job}")
        assert response.status_code == 200, response.text
        content: dict[str, Any] = response.json()
        return content

    def ended(self, job: str) -> dict[str, Any]:
        wait_for(lambda: self.job(job)["state"] in FINAL, seconds=PATIENCE)
        return self.job(job)

    def hanging(self, case: str, *, times: int = 1) -> int:
        """Wait until a worker hangs over a case, for the so manieth time; give its process id."""
        wait_for(lambda: len(list(self.signs.glob(f"{case}-*"))) == times, seconds=PATIENCE)
        newest = max(self.signs.glob(f"{case}-*"), key=lambda path: path.stat().st_mtime_ns)
        return int(newest.name.rpartition("-")[2])

    def wait_until_ready(self) -> None:
        wait_for(lambda: self.http.get("/v2/health/ready").status_code == 200, seconds=PATIENCE)


def check_ledger(client: Client) -> None:
    """Every accepted job has ended, as succeeded, failed or cancelled; the service's own figures say so."""
    found = text_string_to_metric_families(client.http.get("/metrics").text)
    samples = [sample for family in found for sample in family.samples]
    ends = sum(sample.value for sample in samples if sample.name == "nnunet_losses_jobs_ended_total")
    (accepted,) = (sample.value for sample in samples if sample.name == "nnunet_losses_jobs_accepted_total")
    assert accepted == ends > 0


def settings_for(folder: Path, **more: Any) -> Settings:
    """A server with one bundle and its data in a folder."""
    bundle = folder / "brain.bundle"
    if not bundle.exists():
        bundle.write_text("good")
    (folder / "signs").mkdir(exist_ok=True)
    values = {"bundles": [bundle], "data_folder": folder / "data", "backend": "cpu", "max_queued": 40, **more}
    return Settings(**values)


@contextmanager
def in_thread(settings: Settings, signs: Path) -> Iterator[tuple[Client, Supervisor]]:
    """A server in a thread of this process, its workers in processes of their own."""
    supervisor = steered(settings, signs)
    with running(create_app(settings, predictors=supervisor)) as (url, _):
        client = Client(url, signs)
        with client.http:
            client.wait_until_ready()
            yield client, supervisor


@contextmanager
def in_process(settings: Settings, signs: Path) -> Iterator[tuple[Client, subprocess.Popen[str]]]:
    """A server in a process of its own; it does not outlive its test."""
    text = settings.model_dump_json(exclude_defaults=True)
    if settings.database_url is not None:
        text = json.dumps({**json.loads(text), "database_url": settings.database_url.get_secret_value()})
    command = [sys.executable, "-m", "tests.serve.service.server", text, str(signs)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            client = Client(process.stdout.readline().strip(), signs)
            with client.http:
                client.wait_until_ready()
                yield client, process
        finally:
            process.kill()
