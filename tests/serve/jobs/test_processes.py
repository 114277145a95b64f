"""Real processes on one queue, some of them killed in the middle."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.jobs.artifacts import FolderStore
from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.jobs.errors import JobCode, JobRefusal
from nnunet_losses.serve.jobs.housekeeping import Housekeeper
from nnunet_losses.serve.jobs.limits import QueueLimits
from nnunet_losses.serve.jobs.queue import JobQueue
from nnunet_losses.serve.jobs.states import JobState

from .helpers import submission, submit
from .processes import LIMITS, PATIENCE, SharedClock, opened, start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nnunet_losses.serve.jobs.records import Submission


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextmanager
def process(what: str, url: str, folder: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its test."""
    with start(what, url, folder, name) as child:
        try:
            yield child
        finally:
            child.kill()


def kill_when_it_hangs(workers: list[subprocess.Popen[str]], folder: Path) -> int:
    """Kill -9 the worker that is in mid-tile of the poisoned job, and let its lease expire; say which."""
    signs = [folder / f"hangs-{worker.pid}" for worker in workers]
    wait_for(lambda: any(sign.exists() for sign in signs))
    index = [sign.exists() for sign in signs].index(True)
    workers[index].kill()
    workers[index].wait()
    SharedClock(folder).advance(LIMITS.lease_seconds + 1)
    return index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "violations").mkdir()
    return tmp_path


def test_two_workers_and_two_kills(url: str, folder: Path) -> None:
    """No job runs twice at once, none is lost; who kills every worker fails, the rest succeeds."""
    with closing(opened(url, folder)) as database:
        queue = JobQueue(database, LIMITS)
        ordinary = [submit(queue, f"caller{index % 4}") for index in range(16)]
        poison = submit(queue, "mallory", parameters={"hangs": 2})
        once = submit(queue, "caller0", parameters={"hangs": 0})
        cancelled = [queue.cancel(job).id for job in ordinary[-4:]]
        with process("work", url, folder, "a") as a, process("work", url, folder, "b") as b:
            survivor = [a, b][1 - kill_when_it_hangs([a, b], folder)]
            wait_for(lambda: queue.get(poison).attempt == 2)
            kill_when_it_hangs([survivor], folder)
        late = submit(queue, "late")
        with process("work", url, folder, "c") as c:
            wait_for(lambda: sum(map(queue.counts().by_state.get, ("queued", "running"))) == 0)  # type: ignore[arg-type] # none is absent
            c.terminate()
            assert c.wait(PATIENCE) == 0  # drained
        check_ledger(queue, accepted=19, cancelled=4, failed=1)
        assert list((folder / "violations").iterdir()) == []
        failure = queue.get(poison).failure
        assert failure is not None
        assert (failure.code, queue.get(poison).attempt) == ("worker.lost", 2)
        check_artifacts(
            queue, database, folder, succeeded=[*ordinary[:-4], once, late], others=[poison, *cancelled]
        )


def check_ledger(queue: JobQueue, *, accepted: int, cancelled: int, failed: int) -> None:
    totals = queue.counts().totals
    assert totals["accepted"] == accepted == totals["succeeded"] + totals["failed"] + totals["cancelled"]
    assert (totals["cancelled"], totals["failed"], totals["requeued"]) == (cancelled, failed, 1)


def check_artifacts(
    queue: JobQueue, database: Database, folder: Path, *, succeeded: list[str], others: list[str]
) -> None:
    """Whole files of what succeeded, nothing of the others, and the killed workers' files can be swept."""
    store = FolderStore(folder / "artifacts")
    assert [queue.artifacts(job) for job in others] == [()] * len(others)
    stray = store.tokens()
    keeper = Housekeeper(database, artifacts=store, inputs=FolderStore(folder / "inputs"), limits=LIMITS)
    assert keeper.run().removed == len(stray) - len(succeeded) == 2
    for job in succeeded:
        assert queue.get(job).state is JobState.SUCCEEDED
        with store.open(queue.artifact(job, "mask")) as file:
            assert file.read().decode() == "".join(f"{job} {tile}\n" for tile in range(3))


def test_killed_server_loses_no_accepted_job(url: str, folder: Path) -> None:
    """Every id that was said before kill -9 is in the queue after it."""
    with closing(opened(url, folder)) as database, process("submit", url, folder, "server") as server:
        assert server.stdout is not None
        said = [server.stdout.readline().strip() for _ in range(20)]
        server.kill()
        said += server.stdout.read().split()
        server.wait()
        queue = JobQueue(database, LIMITS)
        assert {queue.get(job).state for job in said} == {JobState.QUEUED}
        counts = queue.counts()
        accepted = counts.totals["accepted"]
        assert accepted == counts.by_state[JobState.QUEUED]
        assert accepted - len(said) in {0, 1}  # the last one may have been killed between commit and word


def in_parallel(url: str, limits: QueueLimits, submissions: list[Submission]) -> list[str]:
    """Submit from four threads on two connections pools; give the ids, or the codes of refusals."""
    databases = [Database(url, patience=PATIENCE), Database(url, patience=PATIENCE)]

    def send(index: int) -> str:
        try:
            return JobQueue(databases[index % 2], limits).submit(submissions[index]).job.id
        except JobRefusal as refusal:
            return refusal.code.value

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(send, range(len(submissions))))
    for database in databases:
        database.close()
    return answers


def test_bound_is_exact_in_a_rush(url: str) -> None:
    limits = QueueLimits(max_queued=7)
    answers = in_parallel(url, limits, [submission(f"c{index}") for index in range(20)])
    assert answers.count(JobCode.QUEUE_FULL.value) == 13
    assert len(set(answers)) == 8


def test_quota_is_exact_in_a_rush(url: str) -> None:
    limits = QueueLimits(max_per_caller=3)
    answers = in_parallel(url, limits, [submission() for _ in range(12)])
    assert answers.count(JobCode.QUEUE_QUOTA.value) == 9


def test_same_key_in_a_rush_makes_one_job(url: str) -> None:
    answers = in_parallel(url, QueueLimits(), [submission(idempotency_key="k") for _ in range(12)])
    assert len(set(answers)) == 1
