"""Worker processes, one for each device: started, watched, and started again when they die."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from ..errors import Code, Refusal
from .child import ChildProcess, refusal_of
from .opening import too_slow
from .overseer import LOOK
from .reports import merged, unopened

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..jobs.ground import Ground
    from .child import Ticket
    from .plan import WorkerPlan
    from .predictors import Changed
    from .reports import ModelFailure, ModelReport

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
        labels = [bundle.label for bundle in self._plans[0].bundles]
        return merged([child.models for child in self._children]) or unopened(labels)

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
            label = next((model.label for model in self.models() if model.key == key), None)
            if label is None:  # nobody has it open at this moment
                raise _being_started()
            bundle = next(bundle for bundle in self._plans[0].bundles if bundle.label == label)
            path = bundle.origin.resolve()
            try:
                self._prepare(key, path)
            except Refusal:
                self._ask_all({"do": "abort", "model": key})
                raise
            for child in self._children:
                child.serve_from(label, path)
            self._answers([child.commit(key) for child in self._children])

    def _prepare(self, key: str, path: Path) -> None:
        """Let all workers open the bundle at once.

        Raises:
            Refusal: of the first that fails, or is just being started: it could have the old bundle.
        """
        if not all(child.listens for child in self._children):
            raise _being_started()
        message = {"do": "prepare", "model": key, "path": str(path)}
        failure = next(filter(None, self._ask_all(message)), None)
        if failure is not None:
            raise refusal_of(failure)

    def _ask_all(self, message: dict[str, Any]) -> list[ModelFailure | None]:
        return self._answers([child.ask(message) for child in self._children])

    def _answers(self, tickets: Sequence[Ticket]) -> list[ModelFailure | None]:
        """Wait for all of them, so that nothing is under way when the first failure is told."""
        deadline = time.monotonic() + self._plans[0].opening
        return [
            self._answer(child, ticket, deadline - time.monotonic())
            for child, ticket in zip(self._children, tickets, strict=True)
        ]

    def _answer(self, child: ChildProcess, ticket: Ticket, seconds: float) -> ModelFailure | None:
        """Wait for a child's answer; one that gives none hangs, and would hang over the next reload, too."""
        try:
            return ticket.result(max(0.0, seconds))
        except TimeoutError:
            child.renew()
            return too_slow(self._plans[0].opening)

    def stop(self, *, grace: float) -> None:
        """See ``Predictors``."""
        self._ended.set()
        for child in self._children:
            child.drain(grace=grace)
        deadline = time.monotonic() + grace + PATIENCE
        for child in self._children:
            child.join(max(0.0, deadline - time.monotonic()))


def _being_started() -> Refusal:
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        "A worker process is just being started, and could not open the new bundle.",
        remedy="Try again in a minute; see the log if it is started again and again.",
    )
