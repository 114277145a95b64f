"""What is deleted, and what is not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.jobs.artifacts import FolderStore
from nnunet_losses.serve.jobs.errors import JobCode
from nnunet_losses.serve.jobs.housekeeping import Cleaning, Housekeeper
from nnunet_losses.serve.jobs.ledger import new_token
from nnunet_losses.serve.jobs.states import JobState
from nnunet_losses.serve.jobs.worker import Worker

from .helpers import LIMITS, refused, submit

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.jobs.database import Database
    from nnunet_losses.serve.jobs.leases import LeaseDesk
    from nnunet_losses.serve.jobs.queue import JobQueue
    from nnunet_losses.serve.jobs.task import Task

    from .helpers import FakeClock


@pytest.fixture
def inputs(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "inputs")


@pytest.fixture
def keeper(database: Database, store: FolderStore, inputs: FolderStore) -> Housekeeper:
    return Housekeeper(database, artifacts=store, inputs=inputs, limits=LIMITS)


def run_one(desk: LeaseDesk, store: FolderStore) -> None:
    def run(task: Task) -> None:
        task.output.add("mask", media_type="text/plain").write_text("x")

    assert Worker(desk, store, run, name="tester").run_once() is not None


def upload(inputs: FolderStore) -> str:
    token = new_token()
    staging = inputs.stage(token)
    staging.add("image", media_type="text/plain").write_text("x")
    staging.publish()
    return token


def make_older(folder: Path, *, seconds: float) -> None:
    now = folder.stat().st_mtime
    os.utime(folder, (now - seconds, now - seconds))


def test_nothing_to_do(keeper: Housekeeper, queue: JobQueue, desk: LeaseDesk, store: FolderStore) -> None:
    submit(queue)
    submit(queue)
    run_one(desk, store)
    claim = desk.claim("worker")
    assert claim is not None
    store.stage(claim.lease.token)
    assert keeper.run() == Cleaning(recovered=0, purged=0, removed=0)
    assert len(store.tokens()) == 2


def test_retention(
    keeper: Housekeeper, queue: JobQueue, desk: LeaseDesk, store: FolderStore, clock: FakeClock
) -> None:
    job_id = submit(queue)
    run_one(desk, store)
    waiting = submit(queue)
    clock.advance(LIMITS.retention_seconds)
    assert keeper.run().purged == 0
    clock.advance(1)
    assert keeper.run() == Cleaning(recovered=0, purged=1, removed=1)
    assert store.tokens() == frozenset()
    with refused(JobCode.JOB_UNKNOWN):
        queue.get(job_id)
    with refused(JobCode.JOB_UNKNOWN):
        queue.events(job_id)
    assert queue.get(waiting).state is JobState.QUEUED
    counts = queue.counts()
    assert (counts.totals["succeeded"], counts.by_state[JobState.SUCCEEDED]) == (1, 0)


def test_lost_workers(keeper: Housekeeper, queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    job_id = submit(queue)
    desk.claim("worker")
    clock.advance(LIMITS.lease_seconds + 1)
    assert keeper.run().recovered == 1
    assert queue.get(job_id).state is JobState.QUEUED


def test_files_of_lost_workers(
    keeper: Housekeeper, queue: JobQueue, desk: LeaseDesk, store: FolderStore, clock: FakeClock
) -> None:
    """Killed while writing, and killed between publishing and telling: nobody refers to either folder."""
    for _ in range(2):
        submit(queue)
    for published in (False, True):
        claim = desk.claim("worker")
        assert claim is not None
        staging = store.stage(claim.lease.token)
        staging.add("mask", media_type="text/plain").write_text("x")
        if published:
            staging.publish()
    assert keeper.run().removed == 0
    clock.advance(LIMITS.lease_seconds + 1)
    assert keeper.run() == Cleaning(recovered=2, purged=0, removed=2)
    assert store.tokens() == frozenset()


def test_inputs_go_with_the_end_of_their_job(
    keeper: Housekeeper, queue: JobQueue, desk: LeaseDesk, store: FolderStore, inputs: FolderStore
) -> None:
    done, waiting, cancelled = (upload(inputs) for _ in range(3))
    submit(queue, input_folder=done)
    submit(queue, input_folder=waiting)
    queue.cancel(submit(queue, input_folder=cancelled))
    run_one(desk, store)
    make_older(inputs.folder(waiting), seconds=1e6)
    assert keeper.run().removed == 2
    assert inputs.tokens() == {waiting}


def test_inputs_go_with_a_job_that_is_forgotten_before_the_next_round(
    keeper: Housekeeper,
    queue: JobQueue,
    desk: LeaseDesk,
    store: FolderStore,
    inputs: FolderStore,
    clock: FakeClock,
) -> None:
    """A retention that is shorter than the pause between two rounds keeps nothing longer."""
    submit(queue, input_folder=upload(inputs))
    run_one(desk, store)
    clock.advance(LIMITS.retention_seconds + 1)
    assert keeper.run() == Cleaning(recovered=0, purged=1, removed=2)
    assert inputs.tokens() == store.tokens() == frozenset()


def test_input_of_two_jobs_stays_until_both_ended(
    keeper: Housekeeper, queue: JobQueue, inputs: FolderStore
) -> None:
    token = upload(inputs)
    first, second = submit(queue, input_folder=token), submit(queue, input_folder=token)
    queue.cancel(first)
    assert keeper.run().removed == 0
    queue.cancel(second)
    assert keeper.run().removed == 1


def test_uploads_without_a_job(keeper: Housekeeper, inputs: FolderStore) -> None:
    """The request may still be under way; after an hour it is not."""
    token = upload(inputs)
    assert keeper.run().removed == 0
    make_older(inputs.folder(token), seconds=3700)
    assert keeper.run().removed == 1
