"""``Predictors`` for an ingress replica: actors that the command started are asked, not owned."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayError

from ..errors import Code, Refusal
from ..logs import log_event
from ..workers.child import refusal_of
from ..workers.reports import merged, unopened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..jobs.ground import Ground
    from ..workers.plan import Served
    from ..workers.predictors import Changed
    from ..workers.reports import ModelFailure, ModelReport
    from .accepted import AcceptedBundles
    from .actor import PredictorReport
    from .notice import StoppingNotice

LOOK = 0.5  # seconds between two reports
SILENCE = 5.0  # seconds without a report after which a predictor does not count
OPENING = 900.0  # seconds for a new bundle, where nothing else is said
MARGIN = 60.0  # seconds beyond them for a predictor to say that it is stuck


class Cluster:
    """Asks the predictor actors how they are. They find their jobs themselves.

    Args:
        names: of the actors.
        namespace: where Ray knows these names.
        bundles: what they serve.
        accepted: where reloads are noted.
        stopping: says when the command that started the actors ends them.
        patience: seconds of silence after which a predictor that has answered before counts as stuck.
        opening: seconds after which a predictor says that it is stuck over a new bundle.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        namespace: str,
        bundles: tuple[Served, ...],
        accepted: AcceptedBundles,
        stopping: StoppingNotice,
        patience: float,
        opening: float = OPENING,
    ) -> None:
        self._members = [_Member(name, namespace, patience=patience) for name in names]
        self._reload_seconds = opening + MARGIN
        self._bundles = bundles
        self._accepted = accepted
        self._stopping = stopping
        self._reloading = threading.Lock()

    def start(self, ground: Ground, changed: Changed) -> None:  # noqa: ARG002 - the database tells both
        """See ``Predictors``. The actors have the jobs' database and folders by their own plans."""
        for member in self._members:
            member.watch()

    def wake(self) -> None:
        """See ``Predictors``."""
        for member in self._members:
            if member.claims:
                member.handle.wake.remote()

    def models(self) -> tuple[ModelReport, ...]:
        """See ``Predictors``."""
        labels = [bundle.label for bundle in self._bundles]
        return merged([member.models for member in self._members]) or unopened(labels)

    def capacity(self) -> int:
        """See ``Predictors``."""
        return sum(member.claims for member in self._members)

    def is_stopping(self) -> bool:
        """See ``Predictors``."""
        return self._stopping.is_posted

    def restarts(self) -> int:
        """See ``Predictors``."""
        return sum(member.restarts for member in self._members)

    def reload(self, key: str) -> None:
        """See ``Predictors``. The bundle's path must lead to the same file on all machines."""
        with self._reloading:
            label = next(model.label for model in self.models() if model.key == key)
            bundle = next(bundle for bundle in self._bundles if bundle.label == label)
            path = bundle.origin.resolve()
            try:
                self._prepare(key, path)
            except Refusal:
                self._each(lambda handle: handle.abort.remote(key))
                raise
            self._accepted.note(label, path)
            self._each(lambda handle: handle.commit.remote(key))
            for member in self._members:
                member.look()  # who was told of the reload must not be told the state before it

    def _prepare(self, key: str, path: Path) -> None:
        """Let all open the bundle at once.

        Raises:
            Refusal: of the first that fails, or is just being started.
        """
        if not all(member.claims for member in self._members):
            raise _unanswered()
        answers = self._each(lambda handle: handle.prepare.remote(key, path))
        for answer in answers:
            if isinstance(answer, RayError):
                raise _unanswered() from answer
            if answer is not None:
                raise refusal_of(answer)

    def _each(self, call: Callable[[Any], Any]) -> list[ModelFailure | RayError | None]:
        """Call all that are known at once, and wait for all; who dies over it is started again by Ray."""
        asked = [call(member.handle) for member in self._members if member.handle is not None]
        return [_answer(one, self._reload_seconds) for one in asked]

    def stop(self, *, grace: float) -> None:  # noqa: ARG002 - an ingress replica's end is not the cluster's
        """Ask no more. The predictors end with the command that started them."""
        for member in self._members:
            member.leave()


class _Member:
    """One actor as seen from here, by a thread that asks it for reports.

    An actor that has answered and is silent for longer than a lease is stuck in code that lets no other
    thread run, or was stopped: its job is another's by then, and Ray is told to start it again.
    """

    def __init__(self, name: str, namespace: str, *, patience: float) -> None:
        self._name = name
        self._namespace = namespace
        self._patience = patience
        self._heard = 0.0  # when it answered last; 0: not since it was started
        self._leaving = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name=f"watch-{name}", daemon=True)
        self._asked: Any = None  # what was not answered yet
        self._report: PredictorReport | None = None
        self._incarnation: str | None = None
        self.handle: Any = None
        self.restarts = 0

    @property
    def models(self) -> tuple[ModelReport, ...]:
        """What it says about its models; none while it does not answer."""
        report = self._report
        return () if report is None else report.models

    @property
    def claims(self) -> bool:
        """Whether it does jobs."""
        report = self._report
        return report is not None and report.claims

    def watch(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def leave(self) -> None:
        """Stop asking."""
        self._leaving.set()
        self._thread.join()

    def look(self) -> None:
        """Ask for a report, and wait for it."""
        with self._looking:
            self._report = self._ask()
            if self._report is not None:
                self._heard = time.monotonic()
                self._count(self._report.incarnation)
            elif self._heard and self._asked is not None:
                self._judge_silence(time.monotonic() - self._heard)

    def _watch(self) -> None:
        while not self._leaving.is_set():
            self.look()
            self._leaving.wait(LOOK)

    def _judge_silence(self, seconds: float) -> None:
        """End a process that was heard of once; one that is only being started is left alone."""
        if seconds <= self._patience:
            return
        log_event("worker.stuck", level=logging.ERROR, worker=self._name)
        with suppress(RayError, ValueError):
            ray.kill(self.handle, no_restart=False)
        self._heard, self._asked = 0.0, None

    def _ask(self) -> PredictorReport | None:
        """Ask at most one thing at a time: calls to an actor that is being started wait for it."""
        report: PredictorReport | None = None
        try:
            if self.handle is None:
                self.handle = ray.get_actor(self._name, namespace=self._namespace)
            self._asked = self._asked or self.handle.report.remote()
            report = ray.get(self._asked, timeout=SILENCE)
        except GetTimeoutError:  # the same question is waited for again
            return None
        except (RayError, ValueError):  # the process died, or the deployment ended
            pass
        self._asked = None
        return report

    def _count(self, incarnation: str) -> None:
        self.restarts += self._incarnation not in {None, incarnation}
        self._incarnation = incarnation


def _answer(asked: Any, seconds: float) -> ModelFailure | RayError | None:
    try:
        answer: ModelFailure | None = ray.get(asked, timeout=seconds)
    except RayError as error:
        return error
    return answer


def _unanswered() -> Refusal:
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        "A predictor is just being started, or died while it opened the bundle.",
        remedy="Try again in a minute; see whether there is memory for a second bundle beside the first.",
    )
