"""All served models: opening them, finding one, letting requests in."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from anyio.to_thread import run_sync

from nnunet_losses.serve.errors import Code, Refusal

from .logs import log_event
from .problems import ServiceCode, ServiceProblem
from .served_model import ServedModel, State, busy, not_ready

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .engine import Opener
    from .settings import Settings


class Models:
    """All models of the server, in the operator's order."""

    def __init__(self, openers: Mapping[str, Opener], settings: Settings) -> None:
        if not openers:
            raise ValueError(
                "there is nothing to serve: settings.bundles is empty, expected at least one path"
            )
        self._models = [ServedModel(label, opener, settings) for label, opener in openers.items()]
        self._settings = settings
        self._uploads = 0

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models)

    @property
    def are_ready(self) -> bool:
        """Whether every model has passed its golden self-test."""
        return all(model.state is State.READY for model in self)

    async def open_all(self) -> None:
        """Open and test one model after the other, each step in a thread; a failure stays with its model."""
        for model in self:
            try:
                await run_sync(model.open)
                self._refuse_second(model)
                await run_sync(model.test)
            except Exception as error:  # noqa: BLE001 - whatever it is, the other models must be served
                model.fail(error)
            else:
                log_event("model.ready", model=model.name)

    def _refuse_second(self, model: ServedModel) -> None:
        if any(other.name == model.name for other in self if other is not model and other.engine):
            raise Refusal(
                Code.BUNDLE_UNSUPPORTED,
                f"Two of the served bundles are named {model.name!r}.",
                remedy="Serve one of them, or export one under another name.",
            )

    def get(self, name: str) -> ServedModel:
        """Find a model by its name.

        Raises:
            ServiceProblem: there is none (404), or it may be among those still loading (503).
        """
        for model in self:
            if model.name == name:
                return model
        loading = next((model for model in self if model.state is State.LOADING), None)
        if loading is not None:
            raise not_ready(loading, retry_after=self._settings.retry_after)
        raise ServiceProblem(
            ServiceCode.MODEL_UNKNOWN,
            "No model of this name is served.",
            remedy="Choose one of `models`.",
            models=[model.name for model in self],
        )

    def choose(self, name: str | None) -> ServedModel:
        """Find the model that a request means: the named one, or the only one.

        Raises:
            ServiceProblem: none is named though there are several (422), or as for ``get``.
        """
        if name is not None:
            return self.get(name)
        if len(self._models) == 1:
            return self._models[0]
        raise ServiceProblem(
            ServiceCode.MODEL_UNSPECIFIED,
            f"{len(self._models)} models are served, and the request names none.",
            remedy="Add the field `model` with one of `models`.",
            models=[model.name for model in self],
        )

    @contextmanager
    def admission(self) -> Iterator[None]:
        """Hold a place for one request with its upload.

        Raises:
            ServiceProblem: no model is ready, or all places are taken (503): known before the body is read.
        """
        if not any(model.state is State.READY for model in self):
            raise not_ready(self._models[0], retry_after=self._settings.retry_after)
        full = all(model.is_full for model in self)
        if full or self._uploads >= self._settings.max_uploads:
            raise busy(self._settings.retry_after)
        self._uploads += 1
        try:
            yield
        finally:
            self._uploads -= 1

    def stop(self) -> None:
        """End everything that runs or waits."""
        for model in self:
            model.stop()
