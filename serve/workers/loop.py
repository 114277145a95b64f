"""One worker: its models, and the loop that does jobs with them. Whether in a thread or in a process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..jobs.leases import LeaseDesk
from ..jobs.worker import Worker, WorkerTiming
from .host import ModelHost
from .runner import JobRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..dicomweb import Archives
    from ..jobs.ground import Ground
    from ..jobs.records import Claim, Job, Lease, Progress
    from .engine import Opener
    from .job_spans import JobSpans
    from .predictors import Changed


def _nobody(*_: object) -> None:
    return


@dataclass(frozen=True)
class Listeners:
    """Who is told of what a worker does; from the worker's threads.

    Attributes:
        job: told of jobs that move on.
        models: told when ``host.reports()`` says something new.
        lease: told which job is run, and None when none is.
        spans: where spans of jobs go; None for nowhere.
    """

    job: Changed = _nobody
    models: Callable[[], None] = _nobody
    lease: Callable[[Lease | None], None] = _nobody
    spans: JobSpans | None = None


class WorkerLoop:
    """Opens models, then does jobs until it is drained.

    Args:
        openers: functions that open a model each, by label.
        ground: database and folders.
        name: of this worker alone, among all that ever were.
        listeners: who is told of what it does.
        timing: seconds between things.
        archives: that series are fetched from, and results stored in; none by default.
    """

    def __init__(
        self,
        openers: Mapping[str, Opener],
        ground: Ground,
        *,
        name: str,
        listeners: Listeners = Listeners(),
        timing: WorkerTiming | None = None,
        archives: Archives | None = None,
    ) -> None:
        self.host = ModelHost(openers, changed=listeners.models)
        self.claims = False
        self._models_changed = listeners.models
        self._wanted = threading.Event()
        self._worker = Worker(
            AnnouncingDesk(ground, listeners),
            ground.artifacts,
            JobRunner(self.host, ground.inputs, ground.database, archives),
            name=name,
            timing=timing,
            sleep=self._pause,
        )

    def run(self) -> None:
        """Open the models and do jobs; returns when it is drained."""
        self.host.open_all()
        self.claims = True
        self._models_changed()
        try:
            self._worker.work()
        finally:
            self.claims = False
            self._models_changed()

    def wake(self) -> None:
        """Look into the queue now. From any thread."""
        self._wanted.set()

    def drain(self, *, grace: float) -> None:
        """Claim nothing more; give the running job back if it is not done after the grace (seconds)."""
        self._worker.drain(grace=grace)
        self.wake()

    def _pause(self, seconds: float) -> None:
        self._wanted.wait(seconds)
        self._wanted.clear()


class AnnouncingDesk(LeaseDesk):
    """Tells of everything that it wrote, so that nobody has to ask the database all the time."""

    def __init__(self, ground: Ground, listeners: Listeners) -> None:
        super().__init__(ground.database, ground.limits)
        self._tell = listeners.job
        self._tell_held = listeners.lease
        self._spans = listeners.spans
        self._held: Lease | None = None

    def claim(self, worker: str) -> Claim | None:
        """See ``LeaseDesk``. Who claims has no job any more."""
        self._hold(None)
        claim = super().claim(worker)
        if claim is not None:
            self._hold(claim.lease)
            self._tell(claim.job.id)
        return claim

    def _hold(self, lease: Lease | None) -> None:
        if lease != self._held:
            self._held = lease
            self._tell_held(lease)

    def heartbeat(self, lease: Lease, progress: Progress | None = None) -> Job:
        """See ``LeaseDesk``."""
        job = super().heartbeat(lease, progress)
        if progress is not None:
            self._tell(job.id)
            if self._spans is not None:
                self._spans.moved(job)
        return job

    def succeed(self, lease: Lease, *args: Any, **kwargs: Any) -> Job:
        """See ``LeaseDesk``."""
        return self._told(super().succeed(lease, *args, **kwargs))

    def fail(self, lease: Lease, *args: Any) -> Job:
        """See ``LeaseDesk``."""
        return self._told(super().fail(lease, *args))

    def release(self, lease: Lease) -> Job:
        """See ``LeaseDesk``."""
        return self._told(super().release(lease))

    def _told(self, job: Job) -> Job:
        self._tell(job.id)
        if self._spans is not None:
            self._spans.ended(job)
        return job
