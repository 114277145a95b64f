"""One worker process and whatever follows it: watched by a thread, restarted with growing pauses."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ..errors import Code, Refusal
from ..jobs.errors import JobRefusal
from ..jobs.ledger import new_token
from ..jobs.records import Lease
from ..logs import log_event
from .channel import Channel
from .opening import OpeningWatch
from .overseer import Overseer
from .reports import ModelFailure, ModelReport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..jobs.ground import Ground
    from .plan import WorkerPlan
    from .predictors import Changed

    Ticket = Future[ModelFailure | None]

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a worker that died is started again
HEALTHY = 60.0  # seconds of life after which a death begins a new series
EXIT_SECONDS = 5.0  # between the end of a worker's messages and its exit
LEAVE_SECONDS = 10.0  # beyond the grace, for a worker that hangs over a reload to give its job back, and end


class ChildProcess:
    """Keeps one worker process alive until it is drained.

    Args:
        plan: of the process.
        command: starts it; the descriptor of its socket is added.
        ground: where its jobs are, which are taken away when it dies.
        changed: told of jobs that move on.

    Attributes:
        claims: whether it does jobs.
        restarts: how often a process was started in the place of one that died.
    """

    def __init__(self, plan: WorkerPlan, *, command: Sequence[str], ground: Ground, changed: Changed) -> None:
        self._plan = plan
        self._command = command
        self._desk = ground.desk
        self._changed = changed
        self._overseer = Overseer(ground.desk, end=self._kill, changed=changed)
        self._opening = OpeningWatch(
            [bundle.label for bundle in plan.bundles], seconds=plan.opening, end=self._kill
        )
        self._leave_by: float | None = None  # when it is killed if it does not end by itself
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name=f"watch-{plan.device.name}", daemon=True)
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._tickets: dict[str, Ticket] = {}
        self._models: tuple[ModelReport, ...] = ()
        self.claims = False
        self.restarts = 0

    def start(self) -> None:
        """Start the first process."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Process id, while there is a process."""
        return None if self._process is None else self._process.pid

    @property
    def models(self) -> tuple[ModelReport, ...]:
        """What the process says of its models, and why it had to be started again; none before it speaks."""
        return self._opening.told(self._models)

    @property
    def listens(self) -> bool:
        """Whether it does what it is asked to: not while it opens its first models, nor when it must end."""
        return self.claims and self._leave_by is None

    def send(self, message: dict[str, Any]) -> None:
        """Send a command, if there is somebody to hear it."""
        channel = self._channel  # read once: it is forgotten as soon as the process has ended
        if channel is not None:
            channel.send(message)

    def ask(self, message: dict[str, Any]) -> Ticket:
        """Send a command that is answered; the answer is what went wrong, if anything did."""
        ticket = new_token()
        answer: Ticket = Future()
        self._tickets[ticket] = answer
        if self.listens:
            self.send({**message, "ticket": ticket})
        else:  # asked first, so that nobody who dies now is waited for
            self._give_up_waiting()
        return answer

    def oversee(self) -> None:
        """Kill the process if it is stuck, in its job or in a model. To be called now and then."""
        self._overseer.look()
        self._opening.look()
        leave_by = self._leave_by  # read once: it is forgotten as soon as the process has ended
        if leave_by is not None and time.monotonic() > leave_by:
            self._kill()

    def renew(self) -> None:
        """End a process that hangs over a reload; another one takes its place.

        Its job has the same time as when the server ends, and is given back after that.
        """
        self._leave_by = time.monotonic() + self._plan.grace + LEAVE_SECONDS
        self.send({"do": "drain", "grace": self._plan.grace})
        self._give_up_waiting()

    def serve_from(self, label: str, path: Path) -> None:
        """Let processes that are started later open a bundle from another place."""
        bundles = [
            bundle.model_copy(update={"path": path}) if bundle.label == label else bundle
            for bundle in self._plan.bundles
        ]
        with self._starting:
            self._plan = self._plan.model_copy(update={"bundles": tuple(bundles)})

    def commit(self, key: str) -> Ticket:
        """Answer with what was prepared. A process that was started since then is started again.

        To be called after ``serve_from``: who dies over it comes back with what is accepted now.
        """
        if not self.claims:
            self._kill()  # it opens models, perhaps the old ones, and has no job
        return self.ask({"do": "commit", "model": key})

    def drain(self, *, grace: float) -> None:
        """Start no other process; let this one end its job within so many seconds, or give it back."""
        self._ending.set()
        self.send({"do": "drain", "grace": grace})
        if not self.claims:
            self._kill()  # it opens models and has no job

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def join(self, seconds: float) -> None:
        """Wait for the process's end; after so many seconds, kill it."""
        self._thread.join(seconds)
        if self._thread.is_alive() and self._process is not None:
            log_event("worker.killed", level=logging.WARNING, device=self._plan.device.name)
            self._process.kill()
        self._thread.join()

    def _watch(self) -> None:
        pause = FIRST_PAUSE
        while not self._ending.is_set():
            name = f"{socket.gethostname()[:64]}/{self._plan.device.name}/{new_token()[:12]}"
            began = time.monotonic()
            status = self._live(name)
            self._lose(name)
            if self._ending.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - began > HEALTHY else pause
            _log_end(name, status=status, pause=pause)
            self._ending.wait(pause)
            self.restarts += not self._ending.is_set()
            pause = min(2 * pause, LONGEST_PAUSE)

    def _live(self, name: str) -> int:
        """Start a process, listen to it until it ends, and tell its exit status."""
        with self._starting:
            process, channel = self._started(name)
            self._process, self._channel = process, channel
            self._opening.began()
        if self._ending.is_set():
            process.kill()
        for message in channel.messages():
            self._hear(message)
        self._channel, self._models, self.claims = None, (), False
        self._leave_by = None
        self._overseer.heard(None)
        self._opening.ended()
        self._give_up_waiting()
        channel.close()
        return _exit_status(process)

    def _started(self, name: str) -> tuple[subprocess.Popen[bytes], Channel]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own module, in our own interpreter
                [*self._command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **self._plan.device.environment()},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl+C is the server's business
            )
        channel = Channel(ours)
        channel.send(self._plan.model_copy(update={"name": name}).model_dump(mode="json"))
        return process, channel

    def _hear(self, message: dict[str, Any]) -> None:
        if message["say"] == "job":
            self._changed(message["job"])
        elif message["say"] == "models":
            self._models = tuple(ModelReport.model_validate(model) for model in message["models"])
            self.claims = message["claims"]
            self._opening.heard(self._models, claims=self.claims)
        elif message["say"] == "lease":
            lease = message["lease"]
            self._overseer.heard(None if lease is None else Lease.model_validate(lease))
        else:
            failure = message["failure"]
            answer = None if failure is None else ModelFailure.model_validate(failure)
            ticket = self._tickets.pop(message["ticket"], None)
            if ticket is not None:  # otherwise nobody waits any more
                ticket.set_result(answer)

    def _give_up_waiting(self) -> None:
        """Nobody will answer what was asked of a process that is gone."""
        for ticket in list(self._tickets):
            answer = self._tickets.pop(ticket, None)
            if answer is not None:  # another thread gives up at the same time
                answer.set_result(_DIED)

    def _lose(self, name: str) -> None:
        """Take the dead process's job away at once, rather than when its lease expires."""
        try:
            jobs = self._desk.lose(name)
        except JobRefusal as refusal:  # then the lease expires
            log_event("worker.storage", level=logging.WARNING, worker=name, code=refusal.code.value)
            return
        for job in jobs:
            log_event("job.taken", job=job.id, worker=name, state=job.state.value)
            self._changed(job.id)


def _log_end(name: str, *, status: int, pause: float) -> None:
    """A process ends by itself when it must open another bundle; all other ends are losses."""
    if status == 0:
        log_event("worker.ended", worker=name, pause=pause)
    else:
        log_event("worker.lost", level=logging.ERROR, worker=name, status=status, pause=pause)


def _exit_status(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


_DIED = ModelFailure(
    code=Code.BACKEND_FAILED,
    detail="The worker process died while it opened the bundle.",
    remedy="See whether the machine has the memory for a second bundle beside the first.",
)


def refusal_of(failure: ModelFailure) -> Refusal:
    """Say as a refusal why a bundle is not served."""
    known = {code.value: code for code in Code}
    return Refusal(known.get(failure.code, Code.BACKEND_FAILED), failure.detail, remedy=failure.remedy)
