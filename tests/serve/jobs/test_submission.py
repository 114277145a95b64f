"""Who gets into the queue, and in which order jobs leave it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from nnunet_losses.serve.jobs.errors import JobCode
from nnunet_losses.serve.jobs.queue import JobQueue
from nnunet_losses.serve.jobs.states import JobState

from .helpers import LIMITS, refused, submission, submit

if TYPE_CHECKING:
    from nnunet_losses.serve.jobs.database import Database
    from nnunet_losses.serve.jobs.leases import LeaseDesk

    from .helpers import FakeClock


def claim_all(desk: LeaseDesk) -> list[str]:
    order = []
    while (claim := desk.claim("worker")) is not None:
        order.append(claim.job.id)
    return order


def test_job_is_recorded(queue: JobQueue, clock: FakeClock) -> None:
    parameters = {"model": "liver", "nested": {"list": [1, None, 2.5, "ü\u0000"]}}
    admission = queue.submit(submission(parameters=parameters, input_folder="b" * 32))
    job = queue.get(admission.job.id)
    assert admission.created
    assert job == admission.job
    assert (job.state, job.caller, job.created) == (JobState.QUEUED, "ann", clock.time)
    assert (job.parameters, job.input_folder, job.attempt) == (parameters, "b" * 32, 0)
    assert (job.started, job.finished, job.worker, job.progress, job.failure) == (None,) * 5


def test_ids_are_random(queue: JobQueue) -> None:
    first, second = submit(queue), submit(queue)
    assert len(first) == 32
    assert sum(a != b for a, b in zip(first, second, strict=True)) > 16


def test_same_key_and_request_give_the_same_job(queue: JobQueue, desk: LeaseDesk) -> None:
    first = queue.submit(submission(idempotency_key="k"))
    again = queue.submit(submission(idempotency_key="k"))
    assert (first.created, again.created) == (True, False)
    assert again.job == first.job
    claim = desk.claim("worker")
    assert claim is not None
    desk.succeed(claim.lease, ())
    assert queue.submit(submission(idempotency_key="k")).job.state is JobState.SUCCEEDED


def test_same_key_with_another_request_is_a_conflict(queue: JobQueue) -> None:
    first = submit(queue, idempotency_key="JaneDoe")
    with refused(JobCode.IDEMPOTENCY_CONFLICT) as caught:
        submit(queue, idempotency_key="JaneDoe", request_sha256="c" * 64)
    assert first in str(caught.value)
    assert "JaneDoe" not in str(caught.value), "clients' words may be names, and errors are logged"


def test_keys_are_by_caller(queue: JobQueue) -> None:
    assert submit(queue, "ann", idempotency_key="k") != submit(queue, "bob", idempotency_key="k")


def test_repeated_request_is_answered_by_a_full_queue(queue: JobQueue) -> None:
    first = submit(queue, "c0", idempotency_key="k")
    for index in range(1, LIMITS.max_queued):
        submit(queue, f"c{index}")
    assert submit(queue, "c0", idempotency_key="k") == first


def test_room_is_not_asked_of_who_has_a_job_already(queue: JobQueue) -> None:
    for number in range(LIMITS.max_per_caller):
        queue.submit(submission(idempotency_key=f"k{number}"))
    queue.require_room("ann", "k0")
    for key in (None, "another"):
        with refused(JobCode.QUEUE_QUOTA):
            queue.require_room("ann", key)


def test_full_queue(queue: JobQueue) -> None:
    for index in range(LIMITS.max_queued):
        submit(queue, f"c{index}")
    with refused(JobCode.QUEUE_FULL) as caught:
        submit(queue, "late")
    refusal = caught.value
    assert (refusal.observed, refusal.expected, refusal.retry_after) == (6, 6, LIMITS.retry_after)
    assert queue.counts().by_state[JobState.QUEUED] == LIMITS.max_queued
    assert queue.counts().totals["accepted"] == LIMITS.max_queued


def test_running_jobs_leave_room(queue: JobQueue, desk: LeaseDesk) -> None:
    for index in range(LIMITS.max_queued):
        submit(queue, f"c{index}")
    desk.claim("worker")
    submit(queue, "late")


def test_quota_counts_queued_and_running_jobs(queue: JobQueue, desk: LeaseDesk) -> None:
    for _ in range(LIMITS.max_per_caller):
        submit(queue)
    claim = desk.claim("worker")
    assert claim is not None
    with refused(JobCode.QUEUE_QUOTA) as caught:
        submit(queue)
    assert (caught.value.observed, caught.value.expected, caught.value.retry_after) == (4, 4, 7)
    submit(queue, "bob")
    desk.succeed(claim.lease, ())
    submit(queue)


def test_retry_after_is_learned(queue: JobQueue, desk: LeaseDesk, clock: FakeClock) -> None:
    for seconds in (10.0, 21.0):
        submit(queue)
        claim = desk.claim("worker")
        assert claim is not None
        clock.advance(seconds)
        desk.succeed(claim.lease, ())
    for caller in "abcdefgh":
        submit(queue, caller)
        if caller in "ab":
            desk.claim("worker")  # two workers run: a place is free every 15.5 / 2 seconds
    with refused(JobCode.QUEUE_FULL) as caught:
        submit(queue, "late")
    assert caught.value.retry_after == math.ceil(15.5 / 2)


def test_one_caller_is_served_first_in_first_out(queue: JobQueue, desk: LeaseDesk) -> None:
    jobs = [submit(queue) for _ in range(4)]
    assert claim_all(desk) == jobs


def test_callers_take_turns(queue: JobQueue, desk: LeaseDesk) -> None:
    ann = [submit(queue, "ann") for _ in range(3)]
    bob = [submit(queue, "bob") for _ in range(2)]
    eve = submit(queue, "eve")
    assert claim_all(desk) == [ann[0], bob[0], eve, ann[1], bob[1], ann[2]]


def test_newcomers_do_not_starve_the_patient(queue: JobQueue, desk: LeaseDesk) -> None:
    ann = [submit(queue, "ann") for _ in range(3)]
    served = []
    for index in range(8):
        submit(queue, f"new{index}")
        claim = desk.claim("worker")
        assert claim is not None
        desk.succeed(claim.lease, ())
        served.append(claim.job.id)
    assert set(ann) <= set(served[:6])


def test_newcomer_does_not_wait_for_the_history(queue: JobQueue, desk: LeaseDesk) -> None:
    """Who sent much in the past has no debt, and who sent nothing has no credit."""
    for _ in range(3):
        submit(queue, "ann")
        claim = desk.claim("worker")
        assert claim is not None
        desk.succeed(claim.lease, ())
    ann, bob = submit(queue, "ann"), submit(queue, "bob")
    assert claim_all(desk) == [ann, bob]


def test_cancelled_jobs_cost_no_turn(queue: JobQueue, desk: LeaseDesk) -> None:
    ann = [submit(queue, "ann") for _ in range(4)]
    bob = [submit(queue, "bob") for _ in range(2)]
    for job in ann[:3]:
        queue.cancel(job)
    assert claim_all(desk) == [ann[3], *bob]


def test_place(queue: JobQueue, desk: LeaseDesk) -> None:
    ann, later, bob = submit(queue, "ann"), submit(queue, "ann"), submit(queue, "bob")
    assert [queue.place(job) for job in (ann, bob, later)] == [0, 1, 2]
    desk.claim("worker")
    assert [queue.place(job) for job in (ann, bob, later)] == [None, 0, 1]


def test_large_parameters(queue: JobQueue) -> None:
    with refused(JobCode.PARAMETERS_TOO_LARGE) as caught:
        submit(queue, parameters={"text": "x" * LIMITS.max_parameter_bytes})
    assert str(LIMITS.max_parameter_bytes) in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "expectation"),
    [
        ("caller", "", "1 to 128"),
        ("caller", "ann smith", "without spaces"),
        ("caller", "x" * 129, "1 to 128"),
        ("request_sha256", "A" * 64, "64 small hexadecimal"),
        ("idempotency_key", "k\n", "printable"),
        ("input_folder", "../../etc", "32 hexadecimal"),
    ],
)
def test_wrong_submissions(field: str, value: str, expectation: str) -> None:
    with pytest.raises(ValidationError) as caught:
        submission(**{field: value})
    assert expectation in str(caught.value)
    assert repr(value)[:50] in str(caught.value)


@pytest.mark.parametrize("job_id", ["", "0" * 32, "'; DROP TABLE jobs", "\0", "x" * 10_000, "\ud800"])
def test_nothing_is_known_of_other_ids(queue: JobQueue, job_id: str) -> None:
    for look in (queue.get, queue.cancel, queue.events, queue.artifacts, queue.place):
        with refused(JobCode.JOB_UNKNOWN) as caught:
            look(job_id)
        assert not job_id or job_id[:40] not in str(caught.value), "clients' words go nowhere"


def test_queue_survives_a_restart(url: str, queue: JobQueue, database: Database) -> None:
    from nnunet_losses.serve.jobs.database import Database as Again

    job = submit(queue)
    database.close()
    reopened = Again(url)
    try:
        assert JobQueue(reopened, LIMITS).get(job).state is JobState.QUEUED
    finally:
        reopened.close()
