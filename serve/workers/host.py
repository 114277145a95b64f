"""The models of one worker: opened, tested, and replaced without a moment in which there is none."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NoReturn

from ..errors import Code, Refusal
from ..jobs.errors import JobCode, JobRefusal
from ..logs import log_event
from .reports import ModelFailure, ModelReport, ModelState, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .engine import Engine, Opener


@dataclass
class _Slot:
    """One model's place.

    Attributes:
        opener: opens what the bundle's path holds now.
        report: what is said about it.
        engine: the one that answers.
        coming: the one that would replace it.
    """

    opener: Opener
    report: ModelReport
    engine: Engine | None = None
    coming: Engine | None = None


class ModelHost:
    """Opens models and gives them to jobs.

    Args:
        openers: functions that open a model each, by label, in the operator's order.
        changed: called after each change of a model's state.
    """

    def __init__(self, openers: Mapping[str, Opener], *, changed: Callable[[], None] = lambda: None) -> None:
        self._slots = [
            _Slot(opener, ModelReport(label=label, name=label, version=version_of(label)))
            for label, opener in openers.items()
        ]
        self._changed = changed
        self._replacing = Lock()

    def reports(self) -> tuple[ModelReport, ...]:
        """Say how far each model is."""
        return tuple(slot.report for slot in self._slots)

    def open_all(self) -> None:
        """Open and test one model after the other; a failure stays with its model."""
        for slot in self._slots:
            try:
                engine = slot.opener()
                slot.report = _described(slot.report, engine, ModelState.TESTING)
                self._refuse_second(slot)
                self._changed()
                engine.self_test()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other models must be served
                slot.report = _failed(slot.report, error)
            else:
                slot.engine = engine
                slot.report = _described(slot.report, engine, ModelState.READY)
                log_event("model.ready", model=slot.report.key)
            self._changed()

    def _refuse_second(self, slot: _Slot) -> None:
        if any(other.report.key == slot.report.key for other in self._slots if other is not slot):
            raise Refusal(
                Code.BUNDLE_UNSUPPORTED,
                f"Two of the served bundles are named {slot.report.key!r}.",
                remedy="Serve one of them, export one under another name, or name their files NAME@VERSION.",
            )

    def engine(self, key: str) -> Engine:
        """Give the model that a job asks for.

        Raises:
            JobRefusal: it is not served here, or failed.
        """
        slot = self._slot(key)
        if slot.engine is not None:
            return slot.engine
        failure = slot.report.failure
        raise _unavailable("is not ready" if failure is None else f"failed: {failure.detail}")

    def prepare(self, key: str, opener: Opener | None = None) -> None:
        """Open and test what would replace a model; the present one goes on answering.

        Args:
            key: of the model.
            opener: instead of the model's own.

        Raises:
            Refusal: why it cannot be served.
        """
        with self._replacing:
            slot = self._slot(key)
            coming = (opener or slot.opener)()
            if _described(slot.report, coming, ModelState.TESTING).key != key:
                _refuse_other_name(key, coming.description.name)
            coming.self_test()
            slot.coming = coming

    def commit(self, key: str) -> bool:
        """Let what was prepared answer from now on; a job that is running ends with the old one.

        Returns:
            Whether anything was prepared here.
        """
        with self._replacing:
            slot = self._slot(key)
            if slot.coming is None:
                return False
            slot.engine, slot.coming = slot.coming, None
            slot.report = _described(slot.report, slot.engine, ModelState.READY)
            log_event("model.reloaded", model=key, sha256=slot.report.sha256)
        self._changed()
        return True

    def abort(self, key: str) -> None:
        """Drop what was prepared."""
        with self._replacing:
            self._slot(key).coming = None

    def _slot(self, key: str) -> _Slot:
        for slot in self._slots:
            if slot.report.key == key:
                return slot
        raise _unavailable("is no longer served")


def _unavailable(why: str) -> JobRefusal:
    return JobRefusal(
        JobCode.MODEL_UNAVAILABLE,
        f"The model that the job was accepted for {why}.",
        remedy="Send the job again for one of the models that GET /v1/models lists as ready.",
    )


def _refuse_other_name(key: str, name: str) -> NoReturn:
    raise Refusal(
        Code.BUNDLE_UNSUPPORTED,
        f"The new bundle is called {name!r} and cannot take the place of {key!r}.",
        remedy="Export it under the old name, or restart the server to serve another model.",
        observed=name,
        expected=key,
    )


def _described(report: ModelReport, engine: Engine, state: ModelState) -> ModelReport:
    known = {
        "name": engine.description.name,
        "description": engine.description,
        "sha256": engine.sha256,
        "provider": engine.provider,
        "precision": getattr(engine, "precision", None),  # engines of tests need not know
        "calibration": getattr(engine, "calibration", None),
    }
    return report.model_copy(update={**known, "state": state, "failure": None})


def _failed(report: ModelReport, error: Exception) -> ModelReport:
    """Keep the reason: what a refusal says, and nothing about the inside otherwise."""
    failure = failure_of(error)
    log_event(
        "model.failed",
        level=logging.ERROR,
        error=None if isinstance(error, Refusal) else error,
        model=report.key,
        code=failure.code,
        detail=failure.detail,
    )
    return report.model_copy(update={"state": ModelState.FAILED, "failure": failure})


def failure_of(error: Exception) -> ModelFailure:
    """Say why a model cannot be served."""
    if isinstance(error, Refusal):
        return ModelFailure(code=error.code.value, detail=error.detail, remedy=error.remedy)
    return ModelFailure(
        code="internal",
        detail="Something went wrong while the model was opened.",
        remedy="See the server's log, which has the place.",
    )
