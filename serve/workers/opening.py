"""Sees from outside that a worker does not get on with opening its models: there is no job to judge it by."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Code
from ..logs import log_event
from .reports import ModelFailure, unopened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .reports import ModelReport


START_SECONDS = 60.0  # for a process to say its first word


class _Step(NamedTuple):
    """What a worker that does no jobs is at.

    Attributes:
        label: of a model; None where it only has to end.
        since: when its time begins.
    """

    label: str | None
    since: float


class OpeningWatch:
    """Ends a worker that takes too long over one model, and says so until the model is opened after all.

    The time for a model runs from the worker's first word, or from the end of the model before it, to the end
    of its self-test. A worker that was told to end, and has no job, has as long for that.

    Args:
        labels: of the models, in the order in which they are opened.
        seconds: for each of them.
        end: ends the worker for good; another one is started by whoever watches over it.
        monotonic: for tests.

    Example:
        >>> clock = iter([0.0, 3.0, 12.0, 13.0])
        >>> watch = OpeningWatch(["a"], seconds=10, end=lambda: print("ended"), monotonic=clock.__next__)
        >>> watch.began()
        >>> watch.heard(unopened(["a"]), claims=False)
        >>> watch.look()
        >>> watch.look()
        ended
        >>> [(report.state.value, report.failure.code) for report in watch.told(())]
        [('loading', 'bundle.timeout')]
    """

    def __init__(
        self,
        labels: Sequence[str],
        *,
        seconds: float,
        end: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._labels = tuple(labels)
        self._seconds = seconds
        self._end = end
        self._monotonic = monotonic
        self._step: _Step | None = None
        self._overdue: frozenset[str] = (
            frozenset()
        )  # labels of models that took too long, and are not settled

    def began(self) -> None:
        """Note that a worker was started."""
        self._step = _Step(self._labels[0], self._monotonic() + START_SECONDS)

    def ended(self) -> None:
        """Note that the worker is gone."""
        self._step = None

    def heard(self, models: Sequence[ModelReport], *, claims: bool) -> None:
        """Note how far the models are, and whether the worker does jobs."""
        self._overdue -= {model.label for model in models if model.state.is_settled}
        label = next((model.label for model in models if not model.state.is_settled), None)
        step, now = self._step, self._monotonic()
        if claims:
            self._step = None
        elif step is None or step.label != label or step.since > now:
            self._step = _Step(label, now)

    def look(self) -> None:
        """Act, if it is time. To be called now and then."""
        step = self._step
        if step is None or self._monotonic() - step.since < self._seconds or self._step is not step:
            return
        self._step = None
        if step.label is not None:
            self._overdue |= {step.label}
        log_event(
            "worker.stuck",
            level=logging.ERROR,
            model=step.label,
            code=Code.BUNDLE_TIMEOUT.value,
            seconds=self._seconds,
        )
        self._end()

    def told(self, models: tuple[ModelReport, ...]) -> tuple[ModelReport, ...]:
        """Add to what a worker says what became of the one before it; also while there is none."""
        overdue = self._overdue
        if not overdue:
            return models
        failure = too_slow(self._seconds)
        return tuple(
            model.model_copy(update={"failure": failure}) if model.label in overdue else model
            for model in models or unopened(self._labels)
        )


def too_slow(seconds: float) -> ModelFailure:
    """Say that a bundle was not opened in time."""
    return ModelFailure(
        code=Code.BUNDLE_TIMEOUT.value,
        detail=f"The bundle was not opened and tested within {seconds:g} s, and its worker was ended.",
        remedy="See whether disk, memory and device are overloaded; NNUNET_LOSSES_MODEL_TIMEOUT gives slow "
        "machines more time.",
    )
