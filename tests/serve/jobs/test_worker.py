"""The worker's loop, with stand-ins for the network."""

from __future__ import annotations

import errno
import logging
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.jobs.errors import JobCode, JobRefusal
from nnunet_losses.serve.jobs.states import JobState
from nnunet_losses.serve.jobs.task import Task, TaskInterrupted
from nnunet_losses.serve.jobs.worker import Runner, Worker, WorkerTiming

from .helpers import LIMITS, submit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.jobs.artifacts import FolderStore
    from nnunet_losses.serve.jobs.leases import LeaseDesk
    from nnunet_losses.serve.jobs.queue import JobQueue
    from nnunet_losses.serve.jobs.records import Artifact, Job, Lease

    from .helpers import FakeClock


class Bench:
    """A worker with its queue and store; time passes when somebody sleeps."""

    def __init__(self, queue: JobQueue, desk: LeaseDesk, store: FolderStore, clock: FakeClock) -> None:
        self.queue, self.desk, self.store, self.clock = queue, desk, store, clock

    def worker(self, run: Runner) -> Worker:
        an_hour = LIMITS.lease_seconds / 3600  # the heartbeats' thread goes by real time: it must not beat
        timing = WorkerTiming(poll=1, progress=10, report_patience=5, beats_per_lease=an_hour)
        return Worker(
            self.desk,
            self.store,
            run,
            name="tester",
            timing=timing,
            sleep=self.clock.advance,
            monotonic=self.clock,
        )


@pytest.fixture
def bench(queue: JobQueue, desk: LeaseDesk, store: FolderStore, clock: FakeClock) -> Bench:
    return Bench(queue, desk, store, clock)


def write_mask(task: Task) -> None:
    task.output.add("mask", media_type="text/plain").write_text(task.job.id)


def test_success(bench: Bench) -> None:
    job_id = submit(bench.queue)
    job = bench.worker(write_mask).run_once()
    assert job is not None
    assert (job.id, job.state, job.worker) == (job_id, JobState.SUCCEEDED, "tester")
    with bench.store.open(bench.queue.artifact(job_id, "mask")) as file:
        assert file.read().decode() == job_id


def test_no_job(bench: Bench) -> None:
    assert bench.worker(write_mask).run_once() is None


def test_artifacts_appear_only_with_success(bench: Bench) -> None:
    job_id = submit(bench.queue)

    def run(task: Task) -> None:
        write_mask(task)
        assert bench.queue.artifacts(job_id) == ()

    bench.worker(run).run_once()
    assert len(bench.queue.artifacts(job_id)) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refusal(Code.INPUT_TRUNCATED, "Half is missing.", remedy="Send all."), "input.truncated"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage.full"),
        (OSError(errno.EFBIG, "File too large"), "storage.full"),
        (JobRefusal(JobCode.ARTIFACT_INVALID, "No.", remedy="Yes."), "artifact.invalid"),
        (ValueError("Jane Doe"), "job.internal"),
        (MemoryError(), "job.internal"),
        (TaskInterrupted, "job.internal"),  # nobody asked for it
    ],
)
def test_failures(bench: Bench, caplog: pytest.LogCaptureFixture, error: Exception, code: str) -> None:
    """The artifacts of a failed job are gone, and no message of a foreign exception gets out."""
    job_id = submit(bench.queue)

    def run(task: Task) -> None:
        write_mask(task)
        raise error if isinstance(error, Exception) else error("drained")

    with caplog.at_level(logging.INFO):
        job = bench.worker(run).run_once()
    assert job is not None
    assert job.failure is not None
    assert (job.state, job.failure.code) == (JobState.FAILED, code)
    assert "Jane" not in caplog.text + job.model_dump_json() + str([vars(r) for r in caplog.records])
    assert bench.queue.artifacts(job_id) == ()
    assert bench.store.tokens() == frozenset()
    submit(bench.queue)
    assert bench.worker(write_mask).run_once() is not None


def test_cancellation_reaches_the_runner(bench: Bench) -> None:
    job_id = submit(bench.queue)
    reached = []

    def run(task: Task) -> None:
        write_mask(task)
        task.progress("tiles", 0, 9)
        bench.queue.cancel(job_id)
        bench.clock.advance(11)
        task.progress("tiles", 1, 9)
        reached.append("too far")

    job = bench.worker(run).run_once()
    assert job is not None
    assert (job.state, reached) == (JobState.CANCELLED, [])
    assert bench.store.tokens() == frozenset()


def test_cancellation_after_the_last_tile(bench: Bench) -> None:
    job_id = submit(bench.queue)

    def run(task: Task) -> None:
        write_mask(task)
        bench.queue.cancel(job_id)

    job = bench.worker(run).run_once()
    assert job is not None
    assert job.state is JobState.CANCELLED
    assert bench.queue.artifacts(job_id) == ()
    assert bench.store.tokens() == frozenset()


def test_progress_is_throttled(bench: Bench) -> None:
    job_id = submit(bench.queue)

    def run(task: Task) -> None:
        task.progress("read", 0, 1)
        for tile in range(100):
            task.progress("tiles", tile, 100)
            bench.clock.advance(0.5)

    bench.worker(run).run_once()
    written = [event.data for event in bench.queue.events(job_id) if event.kind == "progress"]
    assert [data["stage"] for data in written] == ["read", *["tiles"] * 5]
    assert [data["done"] for data in written] == [0, 0, 20, 40, 60, 80]


@pytest.mark.parametrize("wrong", [("Tiles!", 0, 1), ("tiles", 2, 1), ("tiles", -1, 1), ("", 0, 0)])
def test_wrong_progress(bench: Bench, wrong: tuple[str, int, int]) -> None:
    submit(bench.queue)
    job = bench.worker(lambda task: task.progress(*wrong)).run_once()
    assert job is not None
    assert job.failure is not None
    assert job.failure.code == "job.progress_invalid"
    assert repr(wrong[0]) in job.failure.detail


def test_lost_lease_stops_the_runner(bench: Bench) -> None:
    """Another worker took the job: this one stops at the next tile, and its files never appear."""
    job_id = submit(bench.queue)

    def run(task: Task) -> None:
        write_mask(task)
        bench.clock.advance(LIMITS.lease_seconds + 1)
        assert bench.worker(write_mask).run_once() is not None
        task.progress("tiles", 0, 1)
        raise AssertionError("went on")

    assert bench.worker(run).run_once() is None
    assert bench.queue.get(job_id).state is JobState.SUCCEEDED
    assert bench.store.tokens() == {bench.queue.artifact(job_id, "mask").folder}


def test_drain_within_the_grace(bench: Bench) -> None:
    submit(bench.queue)
    waiting = submit(bench.queue)

    def run(task: Task) -> None:
        worker.drain(grace=5)
        task.progress("tiles", 0, 1)
        write_mask(task)

    worker = bench.worker(run)
    worker.work()
    assert bench.queue.counts().by_state[JobState.SUCCEEDED] == 1
    assert bench.queue.get(waiting).state is JobState.QUEUED


@pytest.mark.parametrize("swallowed", [False, True])
def test_drain_beyond_the_grace(bench: Bench, *, swallowed: bool) -> None:
    """The job goes back, even if the runner makes another exception of it, and the attempt does not count."""
    job_id = submit(bench.queue)

    def run(task: Task) -> None:
        write_mask(task)
        worker.drain(grace=5)
        bench.clock.advance(6)
        try:
            task.progress("tiles", 0, 1)
        except TaskInterrupted as error:
            if swallowed:
                raise RuntimeError from error
            raise

    worker = bench.worker(run)
    worker.work()
    job = bench.queue.get(job_id)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    assert bench.store.tokens() == frozenset()


def test_sigterm_drains(bench: Bench) -> None:
    submit(bench.queue)
    before = signal.getsignal(signal.SIGTERM)

    def arrive(_task: Task) -> None:
        # Not by os.kill: in one process with the engines that other tests load, a real signal ended in a
        # segmentation fault. test_processes.py sends real ones to processes of their own.
        handler = signal.getsignal(signal.SIGTERM)
        assert callable(handler)
        handler(signal.SIGTERM, None)

    worker = bench.worker(arrive)
    try:
        worker.drain_upon_signals(grace=5)
        worker.work()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert worker.is_draining
    assert bench.queue.counts().by_state[JobState.SUCCEEDED] == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupted_process_gives_the_job_back(bench: Bench, error: type[BaseException]) -> None:
    job_id = submit(bench.queue)

    def run(task: Task) -> None:
        raise error

    with pytest.raises(error):
        bench.worker(run).run_once()
    assert bench.queue.get(job_id).state is JobState.QUEUED


class Flaky:
    """A desk whose database does not answer for a while."""

    def __init__(self, desk: LeaseDesk, *, failures: int) -> None:
        self._desk = desk
        self._failures = failures

    def __getattr__(self, name: str) -> object:
        if name in {"succeed", "heartbeat"} and self._failures:
            self._failures -= 1
            raise JobRefusal(JobCode.STORAGE_BUSY, "Locked.", remedy="Wait.")
        return getattr(self._desk, name)


def test_locked_database_is_waited_for(bench: Bench) -> None:
    job_id = submit(bench.queue)
    bench.desk = Flaky(bench.desk, failures=3)  # type: ignore[assignment] # stands in for it

    def run(task: Task) -> None:
        task.progress("tiles", 0, 1)
        write_mask(task)

    assert bench.worker(run).run_once() is not None
    assert len(bench.queue.artifacts(job_id)) == 1


class Forgetful:
    """A desk whose database takes the end of a job, and breaks before it says so."""

    def __init__(self, desk: LeaseDesk) -> None:
        self._desk = desk
        self._said = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._desk, name)

    def succeed(self, lease: Lease, artifacts: Sequence[Artifact], **more: Any) -> Job:
        job = self._desk.succeed(lease, artifacts, **more)
        if self._said:
            return job
        self._said = True
        raise JobRefusal(JobCode.STORAGE_UNAVAILABLE, "Connection lost.", remedy="Wait.")


def test_artifacts_stay_if_the_answer_to_the_commit_is_lost(bench: Bench) -> None:
    job_id = submit(bench.queue)
    bench.desk = Forgetful(bench.desk)  # type: ignore[assignment] # stands in for it
    bench.worker(write_mask).run_once()
    assert bench.queue.get(job_id).state is JobState.SUCCEEDED
    bench.store.open(bench.queue.artifact(job_id, "mask")).close()


def test_loop_outlives_the_database(bench: Bench) -> None:
    """The end of the job cannot be written: its lease expires, and it runs again."""
    job_id = submit(bench.queue)
    bench.desk = Flaky(bench.desk, failures=7)  # type: ignore[assignment] # stands in for it
    began = bench.clock.time
    runs = []

    def run(task: Task) -> None:
        runs.append(task.job.attempt)
        write_mask(task)
        if len(runs) == 2:
            worker.drain(grace=5)

    worker = bench.worker(run)
    worker.work()
    assert runs == [1, 2]
    assert bench.queue.get(job_id).state is JobState.SUCCEEDED
    assert bench.clock.time - began > LIMITS.lease_seconds


def test_heartbeats_go_on_while_the_runner_is_silent(bench: Bench) -> None:
    """Real time: the thread extends the lease, and hears of the cancellation."""
    job_id = submit(bench.queue)
    beats = threading.Event()
    heartbeat = bench.desk.heartbeat

    def counted(*arguments: object) -> object:
        job = heartbeat(*arguments)  # type: ignore[arg-type] # passed on as they came
        if job.cancel_requested:
            beats.set()
        return job

    bench.desk.heartbeat = counted  # type: ignore[method-assign, assignment] # listens
    timing = WorkerTiming(beats_per_lease=LIMITS.lease_seconds / 0.02)

    def run(task: Task) -> None:
        bench.queue.cancel(job_id)
        assert beats.wait(300)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            task.check()

    job = Worker(bench.desk, bench.store, run, name="tester", timing=timing).run_once()
    assert job is not None
    assert job.state is JobState.CANCELLED
