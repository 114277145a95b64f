"""Worker processes, one for each device: started, watched, and started again when they die."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from ..errors import Code, Refusal
from .child import ChildProcess, refusal_of
from .reports import ModelReport, merged, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..jobs.ground import Ground
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

    def restarts(self) -> int:
        """See ``Predictors``."""
        return sum(child.restarts for child in self._children)

    def reload(self, key: str) -> None:
        """Open and test the bundle beside the old one in every worker; then all change, or none."""
        with self._reloading:
            label = next(model.label for model in self.models() if model.key == key)
            bundle = next(bundle for bundle in self._plans[0].bundles if bundle.label == label)
            path = bundle.origin.resolve()
            message = {"model": key, "path": str(path)}
            try:
                self._all({**message, "do": "prepare"})
            except Refusal:
                self._all({**message, "do": "abort"})
                raise
            self._all({**message, "do": "commit"})
            for child in self._children:
                child.serve_from(label, path)

    def _all(self, message: dict[str, str]) -> None:
        """Ask all workers at once.

        Raises:
            Refusal: of the first that fails.
        """
        tickets = [child.ask(message) for child in self._children if child.claims]
        if not tickets:
            raise _no_worker()
        for ticket in tickets:
            failure = ticket.result(RELOAD_SECONDS)
            if failure is not None:
                raise refusal_of(failure)

    def stop(self, *, grace: float) -> None:
        """See ``Predictors``."""
        for child in self._children:
            child.drain(grace=grace)
        deadline = time.monotonic() + grace + PATIENCE
        for child in self._children:
            child.join(max(0.0, deadline - time.monotonic()))


def _no_worker() -> Refusal:
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        "No worker process is running that could open the bundle.",
        remedy="Wait until /v2/health/ready answers with 200, and try again.",
    )
