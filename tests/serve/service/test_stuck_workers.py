"""Workers that never come back: native code without an end, a stopped process, and a latecomer that does."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.workers import overseer

from ..http.fakes import problem, wait_for
from .helpers import PATIENCE, check_ledger, in_thread, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nnunet_losses.serve.workers.supervisor import Supervisor

    from .helpers import Client


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Supervisor]]:
    """A server of two workers, whose jobs may take two seconds."""
    folder = tmp_path_factory.mktemp("stuck")
    settings = settings_for(folder, devices="cpu,cpu", job_timeout=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overseer, "GRACE", 1.0)
        with in_thread(settings, folder / "signs") as both:
            wait_for(lambda: both[1].capacity() == 2, seconds=PATIENCE)
            yield both


@pytest.mark.parametrize("stuck", ["free", "alone"])
def test_a_worker_stuck_in_native_code_is_killed(impatient: tuple[Client, Supervisor], stuck: str) -> None:
    client, supervisor = impatient
    wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
    restarts = supervisor.restarts()
    job = client.submit(stuck, stuck=stuck)
    pid = client.hanging(stuck)
    others = [client.submit(f"other{index}", tiles=4, seconds=0.05) for index in range(4)]
    ended = client.ended(job)
    assert (ended["state"], ended["problem"]["code"], ended["attempt"]) == ("failed", "job.timeout", 1)
    assert ended["artifacts"] == []
    problem(client.http.get(f"/v1/jobs/{job}/artifacts/mask"), 404, "artifact.unknown")
    wait_for(lambda: not is_alive(pid), seconds=PATIENCE)
    assert [(client.ended(other)["state"], client.ended(other)["attempt"]) for other in others] == [
        ("succeeded", 1)
    ] * 4
    wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
    assert supervisor.restarts() == restarts + 1
    assert client.ended(client.submit())["state"] == "succeeded"


def test_who_hears_of_it_is_not_killed(impatient: tuple[Client, Supervisor]) -> None:
    """It runs Python between its tiles, and stops by itself."""
    client, supervisor = impatient
    wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
    restarts = supervisor.restarts()
    job = client.submit("late", hang=1)
    pid = client.hanging("late")
    assert client.ended(job)["problem"]["code"] == "job.timeout"
    assert client.ended(client.submit())["state"] == "succeeded"
    assert is_alive(pid)
    assert supervisor.restarts() == restarts


def test_a_cancelled_job_that_is_stuck_ends_as_cancelled(impatient: tuple[Client, Supervisor]) -> None:
    client, _ = impatient
    job = client.submit("deaf", stuck="free")
    pid = client.hanging("deaf")
    assert client.http.delete(f"/v1/jobs/{job}").status_code == 202
    assert client.ended(job)["state"] == "cancelled"
    wait_for(lambda: not is_alive(pid), seconds=PATIENCE)


def test_a_stopped_worker_loses_its_job_to_the_next_one(tmp_path: Path) -> None:
    """No heartbeat, no end: the lease expires, the process is killed, and the job runs again."""
    settings = settings_for(tmp_path, lease_seconds=2)
    with in_thread(settings, tmp_path / "signs") as (client, supervisor):
        job = client.submit("stopped", hang=1)
        pid = client.hanging("stopped")
        os.kill(pid, signal.SIGSTOP)
        ended = client.ended(job)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
        assert not is_alive(pid)
        assert supervisor.restarts() == 1


def test_nothing_was_lost(impatient: tuple[Client, Supervisor]) -> None:
    check_ledger(impatient[0])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
