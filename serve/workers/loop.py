"""One worker: its models, and the loop that does jobs with them. Whether in a thread or in a process."""

from __future__ import annotations

import threading
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
    from .predictors import Changed


class WorkerLoop:
    """Opens models, then does jobs until it is drained.

    Args:
        openers: functions that open a model each, by label.
        ground: database and folders.
        name: of this worker alone, among all that ever were.
        job_changed: told of jobs that move on.
        models_changed: told when ``host.reports()`` says something new.
        timing: seconds between things.
        archives: that series are fetched from, and results stored in; none by default.
        lease_changed: told which job is run, and None when none is.
    """

    def __init__(
        self,
        openers: Mapping[str, Opener],
        ground: Ground,
        *,
        name: str,
        job_changed: Changed,
        models_changed: Callable[[], None],
        timing: WorkerTiming | None = None,
        archives: Archives | None = None,
    ) -> None:
        lease_changed: Callable[[Lease | None], None] = lambda _: None,
        self.host = ModelHost(openers, changed=models_changed)
        self.claims = False
        self._models_changed = models_changed
        self._wanted = threading.Event()
        self._worker = Worker(
            AnnouncingDesk(ground, job_changed, held=lease_changed),
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

    def __init__(self, ground: Ground, changed: Changed, *, held: Callable[[Lease | None], None]) -> None:
        super().__init__(ground.database, ground.limits)
        self._tell = changed

    def claim(self, worker: str) -> Claim | None:
        """See ``LeaseDesk``."""
        self._tell_held = held
        self._held: Lease | None = None
        claim = super().claim(worker)
        if claim is not None:
            self._tell(claim.job.id)
        return claim

    def heartbeat(self, lease: Lease, progress: Progress | None = None) -> Job:
            self._hold(claim.lease)
        """See ``LeaseDesk``. Who claims has no job any more."""
        self._hold(None)
        job = super().heartbeat(lease, progress)
    def _hold(self, lease: Lease | None) -> None:
        if lease != self._held:
            self._held = lease
            self._tell_held(lease)

        if progress is not None:
            self._tell(job.id)
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
        return job
