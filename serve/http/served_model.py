"""One served model: its state, and whose turn it is at the network."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from nnunet_losses.serve.errors import Refusal

from .attempt import Attempt
from .logs import log_event
from .problems import ServiceCode, ServiceProblem, internal_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from .engine import Engine, Opener, Segmentation
    from .settings import Settings


class State(StrEnum):
    """How far a model is. Only a ready one answers."""

    LOADING = "loading"
    TESTING = "testing"
    READY = "ready"
    FAILED = "failed"


class ServedModel:
    """One model, from its bundle to its turn at the network.

    Attributes:
        name: the bundle's name for it; until that is read, the label that the operator knows.
        state: see ``State``.
        failure: why it is not served, as a dictionary of code, detail and remedy.
        engine: set once it is opened.
    """

    def __init__(self, label: str, opener: Opener, settings: Settings) -> None:
        self.name = label
        self.state = State.LOADING
        self.failure: dict[str, str] | None = None
        self.engine: Engine | None = None
        self._opener = opener
        self._settings = settings
        self._turn = anyio.CapacityLimiter(1)
        self._attempts: set[Attempt] = set()

    @property
    def is_full(self) -> bool:
        """Whether one more request would have to wait behind too many."""
        return len(self._attempts) > self._settings.max_waiting

    def open(self) -> None:
        """Read the bundle and open the networks. Slow."""
        self.engine = self._opener()
        self.name = self.engine.description.name
        self.state = State.TESTING

    def test(self) -> None:
        """Run the golden case. Slow."""
        self.ready_engine(State.TESTING).self_test()
        self.state = State.READY

    def fail(self, error: Exception) -> None:
        """Take the model out of service, and keep the reason for whoever asks."""
        known = error if isinstance(error, Refusal) else None
        source = known or internal_error()
        self.failure = {"code": str(source.code), "detail": source.detail, "remedy": source.remedy}
        self.state = State.FAILED
        log_event(
            "model.failed",
            level=logging.ERROR,
            error=None if known else error,
            model=self.name,
            code=self.failure["code"],
            detail=self.failure["detail"],
        )

    def ready_engine(self, state: State = State.READY) -> Engine:
        """Return the engine, if the model is in the given state.

        Raises:
            ServiceProblem: it is not (503).
        """
        if self.engine is None or self.state is not state:
            raise not_ready(self, retry_after=self._settings.retry_after)
        return self.engine

    async def segment(self, files: Sequence[Path], *, folder: Path, request: Request) -> Segmentation:
        """Wait for the turn, run the network in a thread, and stop when the client goes away.

        Raises:
            ServiceProblem: too many wait (503), or it took too long (504).
            starlette.requests.ClientDisconnect: nobody waits for the result.
            Refusal: the input is refused.
        """
        engine = self.ready_engine()
        with self._place() as attempt, attempt.watching(request), attempt.scope:
            work = partial(engine.segment, files, folder=folder, progress=attempt.check)
            return await run_sync(work, limiter=self._turn)
        raise attempt.ended()

    @contextmanager
    def _place(self) -> Iterator[Attempt]:
        if self.is_full:
            raise busy(self._settings.retry_after)
        attempt = Attempt(self._settings.prediction_timeout)
        self._attempts.add(attempt)
        try:
            yield attempt
        except BaseException:
            attempt.abandon()  # where the task was cancelled, its thread still runs
            raise
        finally:
            self._attempts.remove(attempt)

    def stop(self) -> None:
        """End all attempts: the server goes down."""
        for attempt in tuple(self._attempts):
            attempt.abandon()


def busy(retry_after: int) -> ServiceProblem:
    """All places are taken: come again."""
    return ServiceProblem(
        ServiceCode.SERVICE_BUSY,
        "As many requests as the server takes are running or waiting.",
        remedy=f"Send the request again in {retry_after} s.",
        headers={"Retry-After": str(retry_after)},
    )


def not_ready(model: ServedModel, *, retry_after: int) -> ServiceProblem:
    """Say that a model does not answer yet, or never will, and why."""
    if model.failure is not None:
        return ServiceProblem(
            ServiceCode.MODEL_NOT_READY,
            f"The model is not served: {model.failure['detail']}",
            remedy=model.failure["remedy"],
            reason=model.failure,
            state=model.state,
        )
    return ServiceProblem(
        ServiceCode.MODEL_NOT_READY,
        f"The model is {model.state}: its self-test has not passed yet.",
        remedy=f"Send the request again in {retry_after} s; /v2/health/ready says when all models are ready.",
        headers={"Retry-After": str(retry_after)},
        state=model.state,
    )
