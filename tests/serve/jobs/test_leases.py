"""Claims, leases that expire, cancellation, ends and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.jobs.errors import JobCode
from nnunet_losses.serve.jobs.records import Artifact, Failure, Progress
from nnunet_losses.serve.jobs.states import JobState

from .helpers import LIMITS, refused, submit

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnunet_losses.serve.jobs.leases import LeaseDesk
    from nnunet_losses.serve.jobs.queue import JobQueue
    from nnunet_losses.serve.jobs.records import Claim, Job, Lease

    from .helpers import FakeClock

FAILURE = Failure(code="input.corrupt", detail="Half of it is missing.", remedy="Send the whole.")
MASK = Artifact(name="mask", media_type="image/x", size=3, sha256="d" * 64, folder="e" * 32, file="f.nii.gz")
ENDS: dict[str, Callable[[LeaseDesk, Lease], Job]] = {
    "heartbeat": lambda desk, lease: desk.heartbeat(lease),
    "succeed": lambda desk, lease: desk.succeed(lease, (MASK,)),
    "fail": lambda desk, lease: desk.fail(lease, FAILURE),
    "release": lambda desk, lease: desk.release(lease),
}


def claimed(desk: LeaseDesk, worker: str = "worker") -> Claim:
    claim = desk.claim(worker)
    assert claim is not None
    return claim


def test_claim(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    assert desk.claim("worker") is None
    job_id = submit(queue)
    clock.advance(5)
    job = claimed(desk, "host/cuda:0").job
    assert (job.id, job.state, job.started) == (job_id, JobState.RUNNING, clock.time)
    assert (job.attempt, job.worker) == (1, "host/cuda:0")
    assert desk.claim("worker") is None


def test_lost_worker(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    """Requeued once, then failed."""
    job_id = submit(queue)
    submit(queue, "bob")
    claimed(desk)
    clock.advance(LIMITS.lease_seconds - 1)
    assert desk.recover() == ()
    clock.advance(2)
    second = claimed(desk, "other")
    assert (second.job.id, second.job.attempt) == (job_id, 2)
    clock.advance(LIMITS.lease_seconds + 1)
    (job,) = desk.recover()
    assert (job.id, job.state, job.attempt) == (job_id, JobState.FAILED, 2)
    assert job.failure is not None
    assert job.failure.code == "worker.lost"
    assert queue.counts().totals["requeued"] == 1


def test_heartbeats_keep_a_job(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    submit(queue)
    lease = claimed(desk).lease
    for _ in range(5):
        clock.advance(LIMITS.lease_seconds - 1)
        assert not desk.heartbeat(lease).cancel_requested
        assert desk.recover() == ()


@pytest.mark.parametrize("end", ENDS)
def test_slow_worker_spoils_nothing(queue: JobQueue, desk: LeaseDesk, clock: FakeClock, end: str) -> None:
    job_id = submit(queue)
    slow = claimed(desk, "slow").lease
    clock.advance(LIMITS.lease_seconds + 1)
    claimed(desk, "fast")
    before = queue.get(job_id)
    with refused(JobCode.LEASE_LOST):
        ENDS[end](desk, slow)
    assert queue.get(job_id) == before
    assert queue.artifacts(job_id) == ()


@pytest.mark.parametrize("end", ENDS)
def test_ended_job_has_no_lease(queue: JobQueue, desk: LeaseDesk, end: str) -> None:
    submit(queue)
    lease = claimed(desk).lease
    desk.succeed(lease, ())
    with refused(JobCode.LEASE_LOST):
        ENDS[end](desk, lease)


def test_endless_job(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    """A worker that only beats its heart is stopped by the time limit."""
    job_id = submit(queue)
    lease = claimed(desk).lease
    for _ in range(int(LIMITS.run_seconds // 20)):
        clock.advance(20)
        desk.heartbeat(lease)
    clock.advance(1)
    desk.recover()
    failure = queue.get(job_id).failure
    assert failure is not None
    assert failure.code == "job.timeout"


def test_success(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    job_id = submit(queue)
    lease = claimed(desk).lease
    assert queue.artifacts(job_id) == ()
    clock.advance(3)
    job = desk.succeed(lease, (MASK,))
    assert (job.state, job.finished) == (JobState.SUCCEEDED, clock.time)
    assert queue.artifact(job_id, "mask") == MASK
    with refused(JobCode.ARTIFACT_UNKNOWN) as caught:
        queue.artifact(job_id, "../mask")
    assert "mask" in str(caught.value)


def test_failure(queue: JobQueue, desk: LeaseDesk) -> None:
    job_id = submit(queue)
    desk.fail(claimed(desk).lease, FAILURE)
    job = queue.get(job_id)
    assert (job.state, job.failure) == (JobState.FAILED, FAILURE)


def test_release_costs_no_attempt_and_keeps_the_turn(queue: JobQueue, desk: LeaseDesk) -> None:
    first = submit(queue)
    submit(queue, "bob")
    for _ in range(3):
        claim = claimed(desk)
        assert (claim.job.id, claim.job.attempt) == (first, 1)
        assert desk.release(claim.lease).state is JobState.QUEUED


def test_cancel_queued(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    job_id = submit(queue)
    job = queue.cancel(job_id)
    assert (job.state, job.finished, job.cancel_requested) == (JobState.CANCELLED, clock.time, True)
    assert desk.claim("worker") is None
    assert queue.cancel(job_id) == job


@pytest.mark.parametrize("end", ["succeed", "fail", "release"])
def test_cancel_running(queue: JobQueue, desk: LeaseDesk, end: str) -> None:
    """However it ends: what was cancelled is cancelled, and has no artifacts."""
    job_id = submit(queue)
    lease = claimed(desk).lease
    job = queue.cancel(job_id)
    assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)
    assert queue.cancel(job_id) == job
    assert desk.heartbeat(lease).cancel_requested
    assert ENDS[end](desk, lease).state is JobState.CANCELLED
    assert queue.artifacts(job_id) == ()
    assert queue.get(job_id).failure is None


def test_cancel_of_a_lost_worker(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    job_id = submit(queue)
    claimed(desk)
    queue.cancel(job_id)
    clock.advance(LIMITS.lease_seconds + 1)
    desk.recover()
    assert queue.get(job_id).state is JobState.CANCELLED


@pytest.mark.parametrize("end", ["succeed", "fail"])
def test_cancel_of_a_finished_job(queue: JobQueue, desk: LeaseDesk, end: str) -> None:
    job_id = submit(queue)
    job = ENDS[end](desk, claimed(desk).lease)
    with refused(JobCode.JOB_FINISHED) as caught:
        queue.cancel(job_id)
    assert job.state.value in str(caught.value)


def test_events(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    job_id = submit(queue)
    lease = claimed(desk).lease
    clock.advance(1)
    desk.heartbeat(lease, Progress(stage="tiles", done=1, total=2))
    desk.heartbeat(lease, Progress(stage="tiles", done=1, total=2))  # nothing new
    desk.heartbeat(lease, Progress(stage="tiles", done=2, total=2))
    assert queue.get(job_id).progress == Progress(stage="tiles", done=2, total=2)
    desk.fail(lease, FAILURE)
    events = queue.events(job_id)
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [event.data for event in events] == [
        {"state": "queued", "attempt": 0},
        {"state": "running", "attempt": 1},
        {"stage": "tiles", "done": 1, "total": 2},
        {"stage": "tiles", "done": 2, "total": 2},
        {"state": "failed", "attempt": 1, "failure": FAILURE.model_dump()},
    ]
    assert [event.time - events[0].time for event in events] == [0, 0, 1, 1, 1]
    assert queue.get(job_id).last_event == 5


def test_events_resume(queue: JobQueue, desk: LeaseDesk) -> None:
    job_id = submit(queue)
    desk.release(claimed(desk).lease)
    queue.cancel(job_id)
    states = ["queued", "running", "queued", "cancelled"]
    for after in range(5):
        assert [event.data["state"] for event in queue.events(job_id, after=after)] == states[after:]
    assert [event.sequence for event in queue.events(job_id, after=1, limit=2)] == [2, 3]
    for after in (-1, 5):
        with refused(JobCode.EVENTS_UNKNOWN) as caught:
            queue.events(job_id, after=after)
        assert str(after) in str(caught.value)


def test_counts(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    assert queue.counts().queue_age == 0
    submit(queue, "ann")
    clock.advance(4)
    for caller in ("bob", "eve", "bob", "bob"):
        submit(queue, caller)
    clock.advance(6)
    assert queue.counts().queue_age == 10
    lease = claimed(desk).lease
    clock.advance(2)
    desk.succeed(lease, ())
    desk.fail(claimed(desk).lease, FAILURE)
    claimed(desk)
    counts = queue.counts()
    assert counts.by_state == {"queued": 2, "running": 1, "succeeded": 1, "failed": 1, "cancelled": 0}
    assert (counts.callers_waiting, counts.run_seconds, counts.queue_age) == (1, 2, 8)
    totals = {"accepted": 5, "requeued": 0, "succeeded": 1, "failed": 1, "cancelled": 0}
    assert counts.totals == totals
