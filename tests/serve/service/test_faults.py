"""What breaks, and what becomes of the jobs: killed workers, full disks, bad bundles, locked databases."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from nnunet_losses.serve.jobs.database import Database

from ..http.fakes import problem, wait_for
from .helpers import PATIENCE, check_ledger, in_thread, settings_for

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    import pytest

    from .helpers import Client


def test_a_job_whose_worker_is_killed_in_mid_tile_runs_again(client: Client) -> None:
    job = client.submit("once", hang=1)
    os.kill(client.hanging("once"), signal.SIGKILL)
    ended = client.ended(job)
    assert (ended["state"], ended["attempt"], ended["problem"]) == ("succeeded", 2, None)
    assert [artifact["name"] for artifact in ended["artifacts"]] == ["answer", "mask"]
    client.wait_until_ready()


def test_a_job_that_kills_two_workers_fails_and_the_next_one_is_done(client: Client) -> None:
    job, later = client.submit("twice", hang=2), client.submit("later")
    os.kill(client.hanging("twice"), signal.SIGKILL)
    os.kill(client.hanging("twice", times=2), signal.SIGKILL)
    ended = client.ended(job)
    assert (ended["state"], ended["problem"]["code"], ended["artifacts"]) == ("failed", "worker.lost", [])
    problem(client.http.get(f"/v1/jobs/{job}/artifacts/mask"), 404, "artifact.unknown")
    assert client.ended(later)["state"] == "succeeded"


def test_without_a_worker_the_server_is_live_but_not_ready(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    signs = tmp_path / "signs"
    (signs / "go").touch()
    (tmp_path / "brain.bundle").write_text("slow")
    with in_thread(settings, signs) as (client, _):
        (signs / "go").unlink()
        job = client.submit("unready", hang=1)
        os.kill(client.hanging("unready"), signal.SIGKILL)
        wait_for(lambda: client.http.get("/v2/health/ready").status_code == 503, seconds=PATIENCE)
        assert client.http.get("/v2/health/live").status_code == 200
        (signs / "go").touch()
        client.wait_until_ready()
        assert client.ended(job)["state"] == "succeeded"


def test_a_gpu_without_memory_fails_the_job_not_the_worker(client: Client) -> None:
    first, second = client.ended(client.submit(oom=True)), client.ended(client.submit())
    assert (first["state"], first["problem"]["code"]) == ("failed", "backend.failed")
    assert (second["state"], second["attempt"]) == ("succeeded", 1)


def test_a_full_disk_fails_the_job_and_shows_no_part_of_it(client: Client, folder: Path) -> None:
    staging = folder / "data" / "artifacts" / "staging"
    before = set(staging.iterdir())  # of killed workers, until the housekeeping comes
    failed = client.ended(client.submit(full=True))
    assert (failed["state"], failed["problem"]["code"]) == ("failed", "storage.full")
    assert failed["artifacts"] == []
    assert set(staging.iterdir()) <= before
    assert client.ended(client.submit())["state"] == "succeeded"


def test_a_running_job_is_cancelled_within_a_tile(client: Client) -> None:
    job = client.submit("cancelled", hang=1)
    client.hanging("cancelled")
    response = client.http.delete(f"/v1/jobs/{job}")
    assert response.status_code == 202
    ended = client.ended(job)
    assert (ended["state"], ended["artifacts"]) == ("cancelled", [])
    assert client.http.delete(f"/v1/jobs/{job}").status_code == 200
    problem(client.http.delete(f"/v1/jobs/{client.ended(client.submit())['id']}"), 409, "job.finished")


def test_a_bad_bundle_is_not_reloaded_and_the_old_one_goes_on(client: Client, folder: Path) -> None:
    before = client.http.get("/v1/models/brain").json()["sha256"]
    for content, code in (("corrupt", "bundle.hash_mismatch"), ("wrong", "bundle.self_test_failed")):
        (folder / "brain.bundle").write_text(content)
        refused = problem(client.http.post("/v1/models/brain/reload"), 409, "model.reload_failed")
        assert refused["reason"]["code"] == code
        assert client.http.get("/v1/models/brain").json()["sha256"] == before
        assert client.http.get("/v2/health/ready").status_code == 200
        assert client.ended(client.submit())["state"] == "succeeded"
    (folder / "brain.bundle").write_text("better")
    changed = client.http.post("/v1/models/brain/reload")
    assert changed.status_code == 200, changed.text
    wait_for(lambda: client.http.get("/v1/models/brain").json()["sha256"] != before)
    answer = client.ended(client.submit())
    manifest = client.http.get(answer["links"]["manifest"]).json()
    assert manifest["answer"]["bundle_sha256"] != before
    problem(client.http.post("/v1/models/liver/reload"), 404, "model.unknown")


def test_a_link_counts_from_the_reload_on(tmp_path: Path) -> None:
    """A worker that dies between a bad deployment and its repair comes back with the old bundle."""
    for name in ("good", "corrupt"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "brain.bundle"
    link.symlink_to(tmp_path / "good")
    settings = settings_for(tmp_path, bundles=[link], allow_reload=True)
    with in_thread(settings, tmp_path / "signs") as (client, supervisor):
        link.unlink()
        link.symlink_to(tmp_path / "corrupt")
        problem(client.http.post("/v1/models/brain/reload"), 409, "model.reload_failed")
        job = client.submit("link", hang=1)
        os.kill(client.hanging("link"), signal.SIGKILL)
        assert client.ended(job)["state"] == "succeeded"
        assert supervisor.capacity() == 1


def test_a_locked_database_is_said_and_survived(
    client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Database.__init__.__kwdefaults__, "patience", 0.3)
    own = folder / "locked"
    own.mkdir()
    with in_thread(settings_for(own), own / "signs") as (other, _):
        path = own / "data" / "jobs.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)) as lock:
            lock.execute("BEGIN IMMEDIATE")
            response = other.post()
            problem(response, 503, "storage.busy")
            assert int(response.headers["retry-after"]) > 0
            assert other.http.get("/v2/health/ready").status_code == 200
            lock.execute("ROLLBACK")
        assert other.ended(accepted(other))["state"] == "succeeded"
        assert list((own / "data" / "inputs" / "staging").iterdir()) == []


def accepted(client: Client) -> str:
    """Submit a job as often as a database that is busy again, with this little patience, asks for it."""
    answers: list[httpx.Response] = []

    def is_taken() -> bool:
        answers.append(client.post())
        return answers[-1].status_code != 503

    wait_for(is_taken)
    assert answers[-1].status_code == 202, answers[-1].text
    return str(answers[-1].json()["id"])


def test_reloading_is_off_unless_the_operator_wants_it(tmp_path: Path) -> None:
    with in_thread(settings_for(tmp_path), tmp_path / "signs") as (client, _):
        problem(client.http.post("/v1/models/brain/reload"), 403, "model.reload_off")


def test_nothing_was_lost(client: Client) -> None:
    """Of all the jobs above: accepted = succeeded + failed + cancelled."""
    check_ledger(client)
