"""Counts of what workers did: exactly once for each job, whatever happens to worker, server and job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.jobs.errors import JobCode
from nnunet_losses.serve.jobs.leases import LeaseDesk
from nnunet_losses.serve.jobs.records import Failure
from nnunet_losses.serve.jobs.statistics import BOUNDS, read_statistics

from .helpers import LIMITS, FakeClock, refused, submit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nnunet_losses.serve.jobs.database import Database
    from nnunet_losses.serve.jobs.queue import JobQueue

RESULT: dict[str, Any] = {
    "outcome": "segmented",
    "verdict": "suspicious",
    "problem": None,
    "seconds": {"read": 0.05, "network": 2.0},
}
FAILURE = Failure(code="gpu.oom", detail="It does not fit.", remedy="Crop it.")


def found(database: Database) -> Mapping[tuple[str, ...], float]:
    with database.reading() as connection:
        return {
            (count.name, *(count.labels[key] for key in sorted(count.labels))): count.value
            for count in read_statistics(connection)
        }


@pytest.fixture
def desk(database: Database) -> LeaseDesk:
    return LeaseDesk(database, LIMITS)


def test_an_end_is_counted_with_its_result(database: Database, queue: JobQueue, desk: LeaseDesk) -> None:
    submit(queue, parameters={"model": "liver"})
    claim = desk.claim("worker")
    desk.succeed(claim.lease, (), result=RESULT)
    assert found(database) == {
        ("ends", "liver", "succeeded"): 1,
        ("outcomes", "liver", "segmented"): 1,
        ("verdicts", "liver", "suspicious"): 1,
        ("stage_buckets", "0.05", "liver", "read"): 1,
        ("stage_buckets", "2.5", "liver", "network"): 1,
        ("stage_sum", "liver", "read"): pytest.approx(0.05),
        ("stage_sum", "liver", "network"): pytest.approx(2.0),
    }
    with refused(JobCode.LEASE_LOST):
        desk.succeed(claim.lease, (), result=RESULT)
    assert found(database)["ends", "liver", "succeeded"] == 1


def test_every_way_to_end_is_counted_once(
    database: Database, queue: JobQueue, desk: LeaseDesk, clock: FakeClock
) -> None:
    submit(queue)
    desk.fail(desk.claim("worker").lease, FAILURE)
    cancelled = submit(queue)
    queue.cancel(cancelled)
    queue.cancel(cancelled)
    submit(queue)
    for _ in range(LIMITS.max_attempts):
        desk.claim("worker")
        clock.advance(LIMITS.lease_seconds + 1)
        desk.recover()
    assert found(database) == {
        ("ends", "unknown", "failed"): 2,
        ("ends", "unknown", "cancelled"): 1,
        ("failures", "gpu.oom", "unknown"): 1,
        ("failures", "worker.lost", "unknown"): 1,
    }


def test_a_job_that_was_cancelled_first_has_no_outcome(
    database: Database, queue: JobQueue, desk: LeaseDesk
) -> None:
    job = submit(queue)
    claim = desk.claim("worker")
    queue.cancel(job)
    desk.succeed(claim.lease, (), result=RESULT)
    assert found(database) == {("ends", "unknown", "cancelled"): 1}


def test_rejections_are_counted_by_code(database: Database, queue: JobQueue, desk: LeaseDesk) -> None:
    submit(queue)
    problem = {"code": "contract.blank", "detail": "Jane Doe"}
    desk.succeed(desk.claim("worker").lease, (), result={"outcome": "rejected", "problem": problem})
    assert found(database)["rejections", "contract.blank", "unknown"] == 1
    assert "Jane" not in str(found(database))


def test_long_stages_and_forgotten_jobs_count(
    database: Database, queue: JobQueue, desk: LeaseDesk, clock: FakeClock
) -> None:
    submit(queue)
    desk.succeed(desk.claim("worker").lease, (), result={"seconds": {"network": BOUNDS[-1] + 1}})
    clock.advance(LIMITS.retention_seconds * 2)
    assert found(database)["stage_buckets", "+Inf", "unknown", "network"] == 1
