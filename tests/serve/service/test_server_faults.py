"""Servers that are killed or stopped with jobs in their queue, alone and two on one PostgreSQL."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.jobs.queue import JobQueue

from ..http.fakes import problem, wait_for
from .helpers import PATIENCE, check_ledger, in_process, settings_for

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.http.settings import Settings

JOBS = 20
HOUR = 3600


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_server_finds_all_its_jobs_again(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("schema") if kind == "postgresql" else None
    settings = settings_for(tmp_path, database_url=url)
    signs = tmp_path / "signs"
    with in_process(settings, signs) as (client, process):
        running = client.submit("running", hang=1)
        client.hanging("running")
        jobs = [client.submit(f"queued{index}") for index in range(JOBS)]
        cancelled = jobs.pop()
        assert client.http.delete(f"/v1/jobs/{cancelled}").status_code == 200
        process.kill()
        process.wait()
    with in_process(settings, signs) as (client, process):
        states = {job: client.job(job) for job in (running, *jobs, cancelled)}  # right after the restart
        assert states[cancelled]["state"] == "cancelled"
        assert {state["case"] for state in states.values()} >= {"running", "queued0"}
        ended = [client.ended(job) for job in (running, *jobs)]
        assert {end["state"] for end in ended} == {"succeeded"}
        content = client.http.get(ended[3]["artifacts"][1]["url"])
        assert content.headers["etag"] == f'"{ended[3]["artifacts"][1]["sha256"]}"'
        check_ledger(client)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert list((tmp_path / "data" / "artifacts" / "staging").iterdir()) == []


def test_two_servers_share_a_queue_and_one_is_killed(schema: str, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, database_url=schema)
    signs = tmp_path / "signs"
    with in_process(settings, signs) as (one, first), in_process(settings, signs) as (two, _):
        jobs = [(one, two)[index % 2].submit(f"job{index}", tiles=3, seconds=0.02) for index in range(JOBS)]
        first.kill()
        first.wait()
        ended = [two.ended(job) for job in jobs]
        assert {end["state"] for end in ended} == {"succeeded"}
        assert {two.http.get(end["artifacts"][1]["url"]).status_code for end in ended} == {200}
        check_ledger(two)


def test_sigterm_drains(tmp_path: Path) -> None:
    """Not ready at once, no new jobs; the running one may end, the queued one waits for the next server."""
    settings = settings_for(tmp_path, shutdown_timeout=HOUR)
    signs = tmp_path / "signs"
    with in_process(settings, signs) as (client, process):
        running = client.submit("drained", hang=1)
        client.hanging("drained")
        queued = client.submit("queued")
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: client.http.get("/v2/health/ready").status_code == 503)
        assert client.http.get("/v2/health/live").status_code == 200
        refused = client.post("late")
        problem(refused, 503, "service.stopping")
        assert int(refused.headers["retry-after"]) > 0
        assert client.job(running)["state"] == "running"
        (signs / "let-go").touch()
        assert process.wait(PATIENCE) == 0
    assert states(settings, running, queued) == [("succeeded", 1), ("queued", 0)]


def test_after_the_grace_a_running_job_is_given_back(tmp_path: Path) -> None:
    """Nothing is lost, and the attempt does not count."""
    settings = settings_for(tmp_path, shutdown_timeout=1)
    signs = tmp_path / "signs"
    with in_process(settings, signs) as (client, process):
        running = client.submit("drained", hang=1)
        client.hanging("drained")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert states(settings, running) == [("queued", 0)]
    with in_process(settings, signs) as (client, process):
        ended = client.ended(running)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 1)


def states(settings: Settings, *jobs: str) -> list[tuple[str, int]]:
    """States and attempts, where no server runs."""
    assert settings.data_folder is not None
    with closing(Database(f"sqlite:///{settings.data_folder}/jobs.sqlite")) as database:
        found = [JobQueue(database).get(job) for job in jobs]
    return [(job.state.value, job.attempt) for job in found]
