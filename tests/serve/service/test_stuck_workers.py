"""Workers that never come back: native code without an end, a stopped process, and a latecomer that does."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.workers import overseer
from nnunet_losses.serve.workers.overseer import Overseer

from ..http.fakes import problem, wait_for
from .helpers import PATIENCE, check_ledger, in_thread, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nnunet_losses.serve.workers.supervisor import Supervisor

    from .helpers import Client


JOB_SECONDS, LEASE_SECONDS = 7200, 3600  # so long that nothing is late because the machine is busy


class Clocks:
    """The server's clocks. The overseers' one stands still; the database's can be ahead for a while."""

    def __init__(self) -> None:
        self.passed = self.ahead = 0.0

    def monotonic(self) -> float:
        return self.passed

    def now(self) -> float:
        return time.time() + self.ahead

    def let_go_by(self, seconds: float) -> None:
        """Let overseers wait longer."""
        self.passed += seconds

    @contextmanager
    def later(self, seconds: float) -> Iterator[None]:
        """What runs now has run for so many seconds more, as long as this lasts."""
        self.let_go_by(seconds)
        self.ahead = seconds
        try:
            yield
        finally:
            self.ahead = 0.0


@pytest.fixture(scope="module")
def clocks() -> Iterator[Clocks]:
    made = Clocks()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Overseer.__init__.__kwdefaults__, "monotonic", made.monotonic)
        patch.setitem(Database.__init__.__kwdefaults__, "clock", made.now)
        yield made


@pytest.fixture(scope="module")
def watched(clocks: Clocks, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, Supervisor]]:
    """A server of two workers."""
    folder = tmp_path_factory.mktemp("stuck")
    settings = settings_for(
        folder, devices="cpu,cpu", job_timeout=JOB_SECONDS, lease_seconds=LEASE_SECONDS, job_retention=10**6
    )
    with in_thread(settings, folder / "signs") as both:
        yield both


def is_seen(supervisor: Supervisor, job: str, *, lost: bool = False) -> bool:
    """Whether a worker's overseer knows that it has the job, or has lost it."""
    known = [held for child in supervisor._children if (held := child._overseer._held) is not None]
    return any(held.lease.job_id == job and (held.lost is not None or not lost) for held in known)


def begun(client: Client, supervisor: Supervisor, case: str, **wish: Any) -> tuple[str, int]:
    """Submit a job that will not end; the process that has it."""
    wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
    job = client.submit(case, **wish)
    pid = client.hanging(case)
    wait_for(lambda: is_seen(supervisor, job), seconds=PATIENCE)
    return job, pid


@pytest.mark.parametrize("stuck", ["free", "alone"])
def test_a_worker_stuck_in_native_code_is_killed(
    watched: tuple[Client, Supervisor], clocks: Clocks, stuck: str
) -> None:
    client, supervisor = watched
    job, pid = begun(client, supervisor, stuck, stuck=stuck)
    restarts = supervisor.restarts()
    others = [client.ended(client.submit(f"other{index}", tiles=4)) for index in range(4)]
    assert [(other["state"], other["attempt"]) for other in others] == [("succeeded", 1)] * 4
    with clocks.later(JOB_SECONDS + 1):
        ended = client.ended(job)
    assert (ended["state"], ended["problem"]["code"], ended["attempt"]) == ("failed", "job.timeout", 1)
    assert ended["artifacts"] == []
    problem(client.http.get(f"/v1/jobs/{job}/artifacts/mask"), 404, "artifact.unknown")
    wait_for(lambda: is_seen(supervisor, job, lost=True), seconds=PATIENCE)
    assert is_alive(pid)
    clocks.let_go_by(overseer.GRACE)
    wait_for(lambda: not is_alive(pid), seconds=PATIENCE)
    wait_for(lambda: supervisor.restarts() == restarts + 1, seconds=PATIENCE)
    wait_for(lambda: supervisor.capacity() == 2, seconds=PATIENCE)
    assert client.ended(client.submit())["state"] == "succeeded"


def test_who_hears_of_it_is_not_killed(watched: tuple[Client, Supervisor], clocks: Clocks) -> None:
    """It runs Python between its tiles, and stops by itself."""
    client, supervisor = watched
    job, pid = begun(client, supervisor, "late", hang=1)
    restarts = supervisor.restarts()
    with clocks.later(JOB_SECONDS + 1):
        assert client.ended(job)["problem"]["code"] == "job.timeout"
    wait_for(lambda: not is_seen(supervisor, job), seconds=PATIENCE)
    clocks.let_go_by(overseer.GRACE)
    assert client.ended(client.submit())["state"] == "succeeded"
    assert is_alive(pid)
    assert supervisor.restarts() == restarts


def test_a_cancelled_job_that_is_stuck_ends_as_cancelled(
    watched: tuple[Client, Supervisor], clocks: Clocks
) -> None:
    client, supervisor = watched
    job, pid = begun(client, supervisor, "deaf", stuck="free")
    assert client.http.delete(f"/v1/jobs/{job}").status_code == 202
    with clocks.later(JOB_SECONDS + 1):
        assert client.ended(job)["state"] == "cancelled"
    wait_for(lambda: is_seen(supervisor, job, lost=True), seconds=PATIENCE)
    clocks.let_go_by(overseer.GRACE)
    wait_for(lambda: not is_alive(pid), seconds=PATIENCE)


def test_a_stopped_worker_loses_its_job_to_the_next_one(tmp_path: Path, clocks: Clocks) -> None:
    """No heartbeat, no end: the lease expires, the process is killed, and the job runs again."""
    settings = settings_for(tmp_path, lease_seconds=LEASE_SECONDS, job_timeout=2 * JOB_SECONDS)
    with in_thread(settings, tmp_path / "signs") as (client, supervisor):
        job = client.submit("stopped", hang=1)
        pid = client.hanging("stopped")
        wait_for(lambda: is_seen(supervisor, job), seconds=PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        with clocks.later(LEASE_SECONDS + 1):
            wait_for(lambda: client.job(job)["state"] == "queued", seconds=PATIENCE)
        wait_for(lambda: is_seen(supervisor, job, lost=True), seconds=PATIENCE)
        assert is_alive(pid)
        clocks.let_go_by(overseer.GRACE)
        ended = client.ended(job)
        assert (ended["state"], ended["attempt"]) == ("succeeded", 2)
        assert not is_alive(pid)
        assert supervisor.restarts() == 1


def test_nothing_was_lost(watched: tuple[Client, Supervisor]) -> None:
    check_ledger(watched[0])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
