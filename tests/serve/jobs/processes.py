"""Programs that tests start and kill: ``python -m tests.serve.jobs.processes work|submit URL FOLDER NAME``.

All go by one clock, so that leases expire when a test says so, and not because the machine is busy.

A worker holds a file lock during each job, which the kernel drops when the process dies: two workers at one
job at the same time would leave a file in ``violations``.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_losses.serve.jobs.artifacts import FolderStore
from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.jobs.leases import LeaseDesk
from nnunet_losses.serve.jobs.limits import QueueLimits
from nnunet_losses.serve.jobs.queue import JobQueue
from nnunet_losses.serve.jobs.records import Submission
from nnunet_losses.serve.jobs.worker import Worker, WorkerTiming

from ...conftest import ROOT

if TYPE_CHECKING:
    from nnunet_losses.serve.jobs.task import Task

LIMITS = QueueLimits(max_queued=200, max_per_caller=200, lease_seconds=1200, run_seconds=36000)
TIMING = WorkerTiming(poll=0.02, progress=0.02)
PATIENCE = 300.0  # seconds; a busy machine is slow, a broken queue never gets there


class SharedClock:
    """This machine's time, put forward by what stands in a file: the same in all processes."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "seconds-ahead"

    def __call__(self) -> float:
        return time.time() + self._ahead()

    def _ahead(self) -> float:
        return float(self._file.read_text()) if self._file.exists() else 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass for everybody, at once."""
        new = self._file.with_suffix(".new")
        new.write_text(str(self._ahead() + seconds))
        new.replace(self._file)


def opened(url: str, folder: Path) -> Database:
    """The tests' database, by the tests' clock."""
    return Database(url, clock=SharedClock(folder), patience=PATIENCE)


class Runner:
    """Does jobs in three tiles; hangs in the second one as often as the job's parameter ``hangs`` says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, task: Task) -> None:
        with (self._folder / f"lock-{task.job.id}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                (self._folder / "violations" / task.job.id).touch()
            self._run(task)

    def _run(self, task: Task) -> None:
        path = task.output.add("mask", media_type="text/plain")
        for tile in range(3):
            task.progress("tiles", tile, 3)
            with path.open("a") as file:
                file.write(f"{task.job.id} {tile}\n")
            if tile == 1 and task.job.attempt <= int(str(task.job.parameters.get("hangs", 0))):
                (self._folder / f"hangs-{os.getpid()}").touch()
                time.sleep(600)
            time.sleep(0.005)


def work(url: str, folder: Path, name: str) -> None:
    database = opened(url, folder)
    desk = LeaseDesk(database, LIMITS)
    worker = Worker(desk, FolderStore(folder / "artifacts"), Runner(folder), name=name, timing=TIMING)
    worker.drain_upon_signals(grace=30)
    worker.work()
    database.close()


def submit(url: str, folder: Path, name: str) -> None:
    """Say the id of each job once it was accepted, until the queue is full."""
    queue = JobQueue(opened(url, folder), LIMITS)
    while True:
        job = queue.submit(Submission(caller=name, request_sha256="a" * 64)).job
        sys.stdout.write(f"{job.id}\n")
        sys.stdout.flush()


def start(what: str, url: str, folder: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", __name__, what, url, str(folder), name]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    {"work": work, "submit": submit}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), sys.argv[4])
