"""Jobs as the routes need them: database calls in threads, owned by callers, with whoever runs them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from anyio.to_thread import run_sync

from nnunet_losses.serve.jobs.drift import drift_states
from nnunet_losses.serve.jobs.errors import JobRefusal
from nnunet_losses.serve.jobs.ground import Ground
from nnunet_losses.serve.jobs.ledger import new_token, unknown_job
from nnunet_losses.serve.jobs.records import Submission
from nnunet_losses.serve.jobs.states import JobState

from .catalogue import Catalogue
from .changes import Changes
from .data_folder import data_folder
from .job_schemas import JobStatus
from .logs import log_event
from .observability.tracing import TRACE
from .problems import ServiceCode, ServiceProblem, stopping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from nnunet_losses.serve.jobs.artifacts import Staging
    from nnunet_losses.serve.jobs.drift import DriftState
    from nnunet_losses.serve.jobs.records import Admission, Job
    from nnunet_losses.serve.workers.engine import Order
    from nnunet_losses.serve.workers.predictors import Predictors

    from .settings import Settings

    Result = TypeVar("Result")

POLL = 1.0  # seconds after which a waiting client's job is looked at, should no announcement have come
HOUSEKEEPING = 30.0


class JobService:
    """The queue, its files and its workers, for one server.

    Args:
        settings: what the operator decided.
        predictors: who runs the jobs.
    """

    def __init__(self, settings: Settings, predictors: Predictors) -> None:
        self._settings = settings
        self._predictors = predictors
        self._changes = Changes()
        self._ground: Ground | None = None
        self._uploads = 0
        self._dropping: set[asyncio.Task[None]] = set()
        self._is_draining = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open database and folders, start the workers and the housekeeping; end them again.

        Raises:
            JobRefusal: the database cannot be used.
        """
        limits = self._settings.queue_limits(retry_after=self._settings.retry_after)
        secret = self._settings.database_url
        url = None if secret is None else secret.get_secret_value()
        with data_folder(self._settings) as folder:
            self._ground = await run_sync(lambda: Ground.open(folder, url=url, limits=limits))
            self._changes.open()
            self._predictors.start(self.ground, self._changes.announce)
            keeper = asyncio.create_task(self._keep_house())
            try:
                yield
            finally:
                keeper.cancel()
                self._is_draining = True
                await run_sync(lambda: self._predictors.stop(grace=0))
                while self._dropping:
                    await asyncio.gather(*self._dropping, return_exceptions=True)
                self._changes.close()
                self.ground.close()

    def drain(self) -> None:
        """Take no more jobs, and wait until running ones are done or the grace is over. From a thread."""
        self._is_draining = True
        log_event("service.draining", grace=self._settings.shutdown_timeout)
        self._predictors.stop(grace=self._settings.shutdown_timeout)

    @property
    def is_draining(self) -> bool:
        """Whether no more jobs are taken: this server ends, or whoever owns the workers ends them."""
        return self._is_draining or self._predictors.is_stopping()

    @property
    def ground(self) -> Ground:
        """Database and folders of the running service."""
        assert self._ground is not None, "the application has started"
        return self._ground

    @property
    def is_open(self) -> bool:
        """Whether the application has started."""
        return self._ground is not None

    @property
    def worker_restarts(self) -> int:
        """How often a worker was started again."""
        return self._predictors.restarts()

    @property
    def catalogue(self) -> Catalogue:
        """The models as they are now."""
        return Catalogue(
            self._predictors.models(),
            aliases=self._settings.aliases,
            retry_after=self._settings.retry_after,
        )

    @property
    def is_ready(self) -> bool:
        """Whether every model has passed its self-test, and jobs are taken."""
        return not self.is_draining and self.catalogue.is_ready and self._predictors.capacity() > 0

    async def drift(self) -> tuple[DriftState, ...]:
        """Read all streams of served cases; none where the database does not answer."""
        try:
            return await run_sync(self._drift)
        except JobRefusal as refusal:
            log_event("drift.storage", level=logging.WARNING, code=refusal.code.value)
            return ()

    def _drift(self) -> tuple[DriftState, ...]:
        with self.ground.database.reading() as connection:
            return drift_states(connection)

    async def reload(self, key: str) -> None:
        """See ``Predictors.reload``."""
        await run_sync(lambda: self._predictors.reload(key))

    @contextmanager
    def admission(self) -> Iterator[Staging]:
        """Hold a place for one upload, with the folder that it goes into; the folder goes if no job took it.

        Raises:
            ServiceProblem: the server stops, or all places are taken (503): known before the body is read.
            JobRefusal: the disk is full.
        """
        if self.is_draining:
            raise self.stopping()
        if self._uploads >= self._settings.max_uploads:
            raise self._busy()
        self._uploads += 1
        try:
            staging = self.ground.inputs.stage(new_token())
            try:
                yield staging
            except BaseException:
                staging.discard()
                raise
        finally:
            self._uploads -= 1

    def stopping(self) -> ServiceProblem:
        """Say that the server takes no more jobs."""
        document = stopping()
        return ServiceProblem(
            document.code,
            "The server is being stopped and takes no more jobs.",
            remedy=document.remedy,
            headers={"Retry-After": str(self._settings.retry_after)},
        )

    def _busy(self) -> ServiceProblem:
        seconds = self._settings.retry_after
        return ServiceProblem(
            ServiceCode.SERVICE_BUSY,
            "As many requests as the server takes are being received.",
            remedy=f"Send the request again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )

    async def require_room(self, caller: str, key: str | None = None) -> None:
        """Turn a request away before its body is read, where it would be afterwards.

        Raises:
            JobRefusal: ``queue.full`` or ``queue.quota``.
        """
        await run_sync(lambda: self.ground.queue.require_room(caller, key))

    async def submit(
        self, staging: Staging | None, order: Order, *, caller: str, key: str | None
    ) -> Admission:
        """Make a job of published input files, or of an order that says where its series are.

        A job that the same key made before is given instead.

        Raises:
            JobRefusal: the queue is full, the caller has too many jobs, the key was used otherwise.
        """
        trace = TRACE.get()
        submission = Submission(
            caller=caller,
            request_sha256=_digest(order),
            parameters=order.model_dump(mode="json"),
            input_folder=None if staging is None else staging.token,
            idempotency_key=key,
            traceparent=None if trace is None else trace.header,
        )
        if self.is_draining:
            raise self.stopping()
        admission = await run_sync(lambda: self.ground.queue.submit(submission))
        if admission.created:
            self._predictors.wake()
        elif staging is not None:
            await run_sync(staging.discard)
        return admission

    async def look(self, job_id: str, *, caller: str) -> Job:
        """Find a caller's job. Other callers' jobs do not exist.

        Raises:
            JobRefusal: ``job.unknown``.
        """
        job = await run_sync(lambda: self.ground.queue.get(job_id))
        if job.caller != caller:
            raise unknown_job()
        return job

    async def status(self, job: Job) -> JobStatus:
        """Say what clients are told of a job."""
        queue = self.ground.queue
        position = await run_sync(queue.place, job.id) if job.state is JobState.QUEUED else None
        has_artifacts = job.state is JobState.SUCCEEDED
        artifacts = await run_sync(queue.artifacts, job.id) if has_artifacts else ()
        return JobStatus.of(job, position=position, artifacts=artifacts)

    async def cancel(self, job: Job) -> Job:
        """Cancel a job.

        Raises:
            JobRefusal: ``job.finished``.
        """
        cancelled = await run_sync(lambda: self.ground.queue.cancel(job.id))
        self._predictors.wake()
        self._changes.announce(job.id)
        return cancelled

    async def finished(self, job: Job, *, seconds: float) -> Job:
        """Wait until a job is finished, at most so many seconds; give it as it then is."""
        deadline = time.monotonic() + seconds
        with self._changes.listen(job.id) as listener:
            while True:
                current = await self._again(job)
                left = deadline - time.monotonic()
                if current.state.is_final or left <= 0 or self.is_stuck(current):
                    return current
                await listener.wait(min(left, POLL))

    async def _again(self, job: Job) -> Job:
        return await run_sync(self.ground.queue.get, job.id)

    def is_stuck(self, job: Job) -> bool:
        """Whether the server stops, and nobody here will run the job."""
        return self.is_draining and job.state is JobState.QUEUED

    async def changes_of(self, job: Job, *, seconds: float = POLL) -> AsyncIterator[Job]:
        """Give a job now, and whenever it may have changed, until it is finished."""
        with self._changes.listen(job.id) as listener:
            while True:
                current = await self._again(job)
                yield current
                if current.state.is_final:
                    return
                await listener.wait(seconds)

    async def drop(self, job: Job) -> None:
        """Delete a job with its files: nobody will ask for it. One that runs is cancelled first.

        The end of the service waits for it, even if who called is cancelled meanwhile.
        """
        await self._in_order(self._drop(job))

    def _in_order(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)
        return task

    async def _drop(self, job: Job) -> None:
        try:
            job = await self._again(job)
            if job.state.is_final:
                await run_sync(self._delete, job)
            else:
                self._in_order(self._drop_finished(await self.cancel(job)))
        except JobRefusal as refusal:  # the retention deletes it
            log_event("job.kept", level=logging.WARNING, job=job.id, code=refusal.code.value)

    async def _drop_finished(self, job: Job) -> None:
        with suppress(JobRefusal):  # the retention deletes it
            job = await self.finished(job, seconds=self._settings.job_timeout)
            if job.state.is_final:
                await run_sync(self._delete, job)

    def _delete(self, job: Job) -> None:
        queue = self.ground.queue
        folders = {artifact.folder for artifact in queue.artifacts(job.id)}
        queue.forget(job.id)
        self.ground.artifacts.remove(folders)
        if job.input_folder is not None:
            self.ground.inputs.remove([job.input_folder])

    async def _keep_house(self) -> None:
        while True:
            try:
                await run_sync(self.ground.housekeeper.run)
            except (JobRefusal, OSError) as error:
                code = error.code.value if isinstance(error, JobRefusal) else "internal"
                log_event("housekeeping.failed", level=logging.WARNING, error=error, code=code)
            await asyncio.sleep(HOUSEKEEPING)


def _digest(order: Order) -> str:
    """Hash of what was asked for: two requests of one digest are the same."""
    text = json.dumps(order.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
