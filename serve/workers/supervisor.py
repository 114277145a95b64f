"""Worker processes, one for each device: started, watched, and started again when they die."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from ..errors import Code, Refusal
from .child import ChildProcess, refusal_of
from .overseer import LOOK
from .reports import ModelFailure, ModelReport, merged, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..jobs.ground import Ground
    from .child import Ticket
    from .plan import WorkerPlan
    from .predictors import Changed

RELOAD_SECONDS = 900.0  # after which a worker that is opening a new bundle is not waited for any more
PATIENCE = 10.0  # seconds beyond the grace, after which a worker that does not end is killed
COMMAND = (sys.executable, "-m", "nnunet_losses.serve.workers.process")


class Supervisor:
    """``Predictors`` in processes. A crash of the network ends a worker, not the server.

    Args:
        plans: one for each worker. All have the same bundles.
        command: starts a worker's program; the descriptor of its socket is added.

    Raises:
        ValueError: there is nothing to serve.
    """

    def __init__(self, plans: Sequence[WorkerPlan], *, command: Sequence[str] = COMMAND) -> None:
        if not plans or not plans[0].bundles:
            raise ValueError(
                "there is nothing to serve: settings.bundles is empty, expected at least one path"
            )
        self._plans = tuple(plans)
        self._command = tuple(command)
        self._children: list[ChildProcess] = []
        self._reloading = threading.Lock()
        self._ended = threading.Event()
        self._overseeing = threading.Thread(target=self._oversee, name="oversee", daemon=True)

    def start(self, ground: Ground, changed: Changed) -> None:
        """See ``Predictors``."""
        self._children = [
            ChildProcess(
                plan.model_copy(update={"folder": ground.folder, "database_url": ground.url}),
                command=self._command,
                ground=ground,
                changed=changed,
            )
            for plan in self._plans
        ]
        for child in self._children:
            child.start()
        self._overseeing.start()

    def _oversee(self) -> None:
        while not self._ended.wait(LOOK):
            for child in self._children:
                child.oversee()

    def wake(self) -> None:
        """See ``Predictors``."""
        for child in self._children:
            child.send({"do": "wake"})

    def models(self) -> tuple[ModelReport, ...]:
        """See ``Predictors``."""
        return merged([child.models for child in self._children]) or self._unopened()

    def _unopened(self) -> tuple[ModelReport, ...]:
        labels = [bundle.label for bundle in self._plans[0].bundles]
        return tuple(ModelReport(label=label, name=label, version=version_of(label)) for label in labels)

    def capacity(self) -> int:
        """See ``Predictors``."""
        return sum(child.claims for child in self._children)

    def is_stopping(self) -> bool:
        """The server owns them, and knows."""
        return False

    def restarts(self) -> int:
        """See ``Predictors``."""
        return sum(child.restarts for child in self._children)

    def reload(self, key: str) -> None:
        """Open and test the bundle beside the old one in every worker; then all change, or none."""
        with self._reloading:
            label = next(model.label for model in self.models() if model.key == key)
            bundle = next(bundle for bundle in self._plans[0].bundles if bundle.label == label)
            path = bundle.origin.resolve()
            try:
                self._prepare(key, path)
            except Refusal:
                _answers([child.ask({"do": "abort", "model": key}) for child in self._children])
                raise
            for child in self._children:
                child.serve_from(label, path)
            _answers([child.commit(key) for child in self._children])

    def _prepare(self, key: str, path: Path) -> None:
        """Let all workers open the bundle at once.

        Raises:
            Refusal: of the first that fails, or is just being started: it could have the old bundle.
        """
        if not all(child.claims for child in self._children):
            raise _being_started()
        message = {"do": "prepare", "model": key, "path": str(path)}
        failures = _answers([child.ask(message) for child in self._children])
        failure = next(filter(None, failures), None)
        if failure is not None:
            raise refusal_of(failure)

    def stop(self, *, grace: float) -> None:
        """See ``Predictors``."""
        self._ended.set()
        for child in self._children:
            child.drain(grace=grace)
        deadline = time.monotonic() + grace + PATIENCE
        for child in self._children:
            child.join(max(0.0, deadline - time.monotonic()))


def _answers(tickets: Sequence[Ticket]) -> list[ModelFailure | None]:
    """Wait for all of them, so that nothing is under way when the first failure is told."""
    return [_answer(ticket) for ticket in tickets]


def _answer(ticket: Ticket) -> ModelFailure | None:
    try:
        return ticket.result(RELOAD_SECONDS)
    except TimeoutError:
        return _TOO_SLOW


def _being_started() -> Refusal:
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        "A worker process is just being started, and could not open the new bundle.",
        remedy="Try again in a minute; see the log if it is started again and again.",
    )


_TOO_SLOW = ModelFailure(
    code=Code.BACKEND_FAILED,
    detail=f"A worker has not opened the bundle within {RELOAD_SECONDS:g} s.",
    remedy="See whether the machine has the memory for a second bundle beside the first.",
)
