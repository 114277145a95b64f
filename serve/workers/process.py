"""A worker process: ``python -m nnunet_losses.serve.workers.process FD``, started by ``Supervisor``.

FD is a socket, over which the server sends a ``WorkerPlan`` first. When the server dies, the worker gives
its job back and ends.
"""

from __future__ import annotations

import logging.config
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..dicomweb import Archives
from ..errors import Refusal
from ..jobs.errors import JobRefusal
from ..jobs.ground import Ground
from ..logs import log_event, logging_configuration
from .channel import Channel
from .host import failure_of
from .loop import Listeners, WorkerLoop
from .plan import WorkerPlan
from .runtime import BundleEngine

if TYPE_CHECKING:
    from ..jobs.records import Lease
    from .engine import Engine
    from .job_spans import JobSpans

LAST_WORDS = 10.0  # seconds for a job to be given back after the server died

# Opens what a path holds. Tests bring their own.
OpenBundle = Callable[[Path, WorkerPlan], "Engine"]


def open_bundle(path: Path, plan: WorkerPlan) -> Engine:
    """Open a bundle as the plan says."""
    return BundleEngine.open(path, plan.engine)


def open_spans(plan: WorkerPlan) -> JobSpans | None:
    """Where spans of jobs go, if the operator wants them."""
    if not plan.telemetry:
        return None
    from .job_spans import JobSpans  # noqa: PLC0415 - an extra that few install

    return JobSpans()


def main(descriptor: int, *, opened: OpenBundle = open_bundle) -> None:
    """Work until the server says otherwise, or is gone."""
    logging.config.dictConfig(logging_configuration())
    channel = Channel(socket.socket(fileno=descriptor))
    first = next(channel.messages(), None)
    if first is not None:
        _Process(WorkerPlan.model_validate(first), channel, opened).run()


class _Process:
    """The worker's loop between the server's commands and its own reports."""

    def __init__(self, plan: WorkerPlan, channel: Channel, opened: OpenBundle) -> None:
        self._plan = plan
        self._channel = channel
        self._opened = opened
        self._ground = Ground.open(plan.folder, url=plan.database_url, limits=plan.limits)
        self._spans = open_spans(plan)
        self._loop = WorkerLoop(
            {bundle.label: partial(opened, bundle.path, plan) for bundle in plan.bundles},
            self._ground,
            name=plan.name,
            listeners=Listeners(self._tell_job, self._tell_models, self._tell_lease, self._spans),
            timing=plan.timing,
            archives=Archives(plan.archives),
        )

    def run(self) -> None:
        """Listen in a thread, work in this one."""
        signal.signal(signal.SIGTERM, lambda *_: self._loop.drain(grace=self._plan.grace))
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        self._tell_models()
        self._loop.run()
        if self._spans is not None:
            self._spans.close()
        self._ground.close()

    def _tell_job(self, job_id: str) -> None:
        self._channel.send({"say": "job", "job": job_id})

    def _tell_models(self) -> None:
        models = [report.model_dump(mode="json") for report in self._loop.host.reports()]
        self._channel.send({"say": "models", "models": models, "claims": self._loop.claims})

    def _tell_lease(self, lease: Lease | None) -> None:
        self._channel.send({"say": "lease", "lease": None if lease is None else lease.model_dump()})

    def _listen(self) -> None:
        for message in self._channel.messages():
            self._obey(message)
        log_event("worker.orphaned", level=logging.WARNING, worker=self._plan.name)
        self._loop.drain(grace=0)
        leaving = threading.Timer(LAST_WORDS, os._exit, [1])
        leaving.daemon = True
        leaving.start()

    def _obey(self, message: dict[str, Any]) -> None:
        do = message["do"]
        if do == "wake":
            self._loop.wake()
        elif do == "drain":
            self._loop.drain(grace=message["grace"])
        else:  # slow: the other commands must be heard meanwhile
            threading.Thread(target=self._replace, args=(message,), daemon=True).start()

    def _replace(self, message: dict[str, Any]) -> None:
        host, key = self._loop.host, message["model"]
        failure = None
        try:
            if message["do"] == "prepare":
                host.prepare(key, partial(self._opened, Path(message["path"]), self._plan))
            elif message["do"] == "commit":
                self._commit(key)
            else:
                host.abort(key)
        except Exception as error:  # noqa: BLE001 - whatever it was, the old model is still there
            failure = failure_of(error).model_dump()
            known = error if isinstance(error, Refusal) else None
            log_event("model.not_replaced", error=None if known else error, model=key, code=failure["code"])
        self._channel.send({"say": "replaced", "ticket": message["ticket"], "failure": failure})

    def _commit(self, key: str) -> None:
        """Answer with what was prepared; or end, for the next process opens the bundle that is accepted."""
        try:
            was_prepared = self._loop.host.commit(key)
        except JobRefusal:  # it is being opened
            was_prepared = False
        if not was_prepared:  # started since then, perhaps with the old bundle
            self._loop.drain(grace=math.inf)


if __name__ == "__main__":
    main(int(sys.argv[1]))
