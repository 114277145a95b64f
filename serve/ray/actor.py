"""One predictor: a Ray actor, hence a process, that holds all models and does one job at a time."""

from __future__ import annotations

import logging.config
import os
import threading
import time
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from ..dicomweb import Archives
from ..errors import Refusal
from ..jobs.errors import JobRefusal
from ..jobs.ground import Ground
from ..jobs.ledger import new_token
from ..logs import log_event, logging_configuration
from ..schema import Frozen
from ..workers.host import failure_of
from ..workers.loop import Listeners, WorkerLoop
from ..workers.opening import OpeningWatch, too_slow
from ..workers.overseer import LOOK, Overseer
from ..workers.process import OpenBundle, open_bundle, open_spans
from ..workers.reports import ModelFailure, ModelReport  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from pathlib import Path

    from ..workers.engine import Opener
    from ..workers.plan import WorkerPlan
    from .accepted import AcceptedBundles

LAST_WORDS = 10.0  # seconds beyond the grace for a job to be given back


class PredictorReport(Frozen):
    """What a predictor says of itself.

    Attributes:
        incarnation: of this process; another one says that the actor was started again.
        models: how far they are.
        claims: whether it does jobs.
    """

    incarnation: str
    models: tuple[ModelReport, ...]
    claims: bool


class PredictorActor:
    """The methods are Ray's remote calls. Jobs come from the database: only references travel.

    Ray starts the actor again when its process dies. The new process bears the same name in the queue, and
    takes the job of the dead one back before it does anything else.

    Args:
        plan: its name, models, folder and database.
        accepted: paths of bundles that were reloaded before it was started again.
        opened: opens a bundle.
    """

    def __init__(
        self, plan: WorkerPlan, accepted: AcceptedBundles, *, opened: OpenBundle = open_bundle
    ) -> None:
        logging.config.dictConfig(logging_configuration())
        self._plan = plan
        self._opened = opened
        self._incarnation = new_token()
        self._prepared: set[str] = set()  # models of which a new bundle is open
        self._stuck = False  # over a reload: the process ends
        self._ground = Ground.open(plan.folder, url=plan.database_url, limits=plan.limits)
        self._take_back()
        end = partial(os._exit, 1)  # Ray starts another one
        self._overseer = Overseer(self._ground.desk, end=end, changed=lambda _: None)
        labels = [bundle.label for bundle in plan.bundles]
        self._opening = OpeningWatch(labels, seconds=plan.opening, end=end)
        self._spans = open_spans(plan)
        self._loop = WorkerLoop(
            {bundle.label: self._opener(bundle.path) for bundle in accepted.apply(plan.bundles)},
            self._ground,
            name=plan.name,
            # the ingress looks into the database, and asks for reports
            listeners=Listeners(models=self._moved_on, lease=self._overseer.heard, spans=self._spans),
            timing=plan.timing,
            archives=Archives(plan.archives),
        )
        self._thread = threading.Thread(target=self._work, name="worker", daemon=True)
        self._opening.began()
        self._thread.start()
        threading.Thread(target=self._oversee, name="oversee", daemon=True).start()

    def _oversee(self) -> None:
        """End this process if it is stuck, in its job or in a model, in code that lets other threads run."""
        while True:
            time.sleep(LOOK)
            self._overseer.look()
            self._opening.look()

    def _moved_on(self) -> None:
        self._opening.heard(self._loop.host.reports(), claims=self._loop.claims)

    def _opener(self, path: Path) -> Opener:
        return partial(self._opened, path, self._plan)

    def _take_back(self) -> None:
        try:
            jobs = self._ground.desk.lose(self._plan.name)
        except JobRefusal as refusal:  # then the lease expires
            log_event(
                "worker.storage", level=logging.WARNING, worker=self._plan.name, code=refusal.code.value
            )
            return
        for job in jobs:
            log_event("job.taken", job=job.id, worker=self._plan.name, state=job.state.value)

    def _work(self) -> None:
        try:
            self._loop.run()
            self._opening.ended()  # it was drained, and lives on until Ray ends it
        except BaseException as error:  # noqa: BLE001 - without its loop the process is good for nothing
            log_event("worker.failed", level=logging.ERROR, error=error, worker=self._plan.name)
            os._exit(1)  # Ray starts another one

    def report(self) -> PredictorReport:
        """Say how far the models are."""
        return PredictorReport(
            incarnation=self._incarnation, models=self._loop.host.reports(), claims=self._loop.claims
        )

    def wake(self) -> None:
        """Look into the queue now."""
        self._loop.wake()

    def drain(self, grace: float) -> None:
        """Claim nothing more; return when the running job is done, or given back after so many seconds."""
        self._loop.drain(grace=grace)
        if self._loop.claims:  # otherwise it opens models and has no job
            self._thread.join(grace + LAST_WORDS)
        if self._spans is not None:
            self._spans.close()

    def prepare(self, key: str, path: Path) -> ModelFailure | None:
        """Open and test a new bundle beside the old one; say why it cannot be served.

        Whoever is stuck over it ends, as without Ray: its job has the same time as when the server ends.
        """
        answer: Future[ModelFailure | None] = Future()
        threading.Thread(
            target=lambda: answer.set_result(self._prepare(key, path)), name="prepare", daemon=True
        ).start()
        try:
            return answer.result(self._plan.opening)
        except TimeoutError:
            self._renew(key)
            return too_slow(self._plan.opening)

    def _renew(self, key: str) -> None:
        """End this process; Ray starts another one."""
        self._stuck = True
        log_event("worker.stuck", level=logging.ERROR, model=key, seconds=self._plan.opening)
        threading.Thread(target=self._leave, name="leave", daemon=True).start()

    def _leave(self) -> None:
        try:
            self.drain(self._plan.grace)
        finally:
            os._exit(1)

    def _prepare(self, key: str, path: Path) -> ModelFailure | None:
        try:
            self._loop.host.prepare(key, self._opener(path))
        except Exception as error:  # noqa: BLE001 - whatever it was, the old model is still there
            failure = failure_of(error)
            known = error if isinstance(error, Refusal) else None
            log_event("model.not_replaced", error=None if known else error, model=key, code=failure.code)
            return failure
        self._prepared.add(key)
        return None

    def commit(self, key: str) -> None:
        """Answer with what was prepared."""
        if key not in self._prepared:  # started since then, perhaps with the old bundle
            os._exit(1)  # the next start reads what is accepted now
        self._prepared.remove(key)
        self._loop.host.commit(key)

    def abort(self, key: str) -> None:
        """Drop what was prepared; a stuck process, which would let nobody drop anything, takes it along."""
        self._prepared.discard(key)
        if not self._stuck:
            self._loop.host.abort(key)
