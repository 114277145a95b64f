"""Which of the served models a request means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nnunet_losses.serve.workers.reports import ModelReport, ModelState

from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


class Catalogue:
    """The models as the workers report them now, with the operator's aliases.

    Args:
        reports: in the operator's order.
        aliases: other names, for names or for keys with a version.
        retry_after: advice to who asks for a model that is not ready yet.
    """

    def __init__(
        self, reports: tuple[ModelReport, ...], *, aliases: Mapping[str, str], retry_after: int
    ) -> None:
        self._reports = reports
        self._aliases = aliases
        self._retry_after = retry_after

    def __iter__(self) -> Iterator[ModelReport]:
        return iter(self._reports)

    @property
    def is_ready(self) -> bool:
        """Whether every model has passed its golden self-test."""
        return bool(self._reports) and all(report.state is ModelState.READY for report in self)

    def aliases_of(self, report: ModelReport) -> tuple[str, ...]:
        """Other names that mean this very version now."""
        return tuple(alias for alias in sorted(self._aliases) if self._find(alias) is report)

    def get(self, name: str) -> ModelReport:
        """Find a model by its name, by name@version, or by an alias. A bare name means the newest version.

        Raises:
            ServiceProblem: there is none (404), or it may be among those still loading (503).
        """
        found = self._find(name)
        if found is not None:
            return found
        loading = next((report for report in self if report.state is ModelState.LOADING), None)
        if loading is not None or not self._reports:
            raise self.not_ready(loading)
        raise ServiceProblem(
            ServiceCode.MODEL_UNKNOWN,
            "No model of this name is served.",
            remedy="Choose one of `models`.",
            models=self._names(),
        )

    def choose(self, name: str | None) -> ModelReport:
        """Find the model that a request means: the named one, or the only one.

        Raises:
            ServiceProblem: none is named though there are several (422), or as for ``get``.
        """
        if name is not None:
            return self.get(name)
        names = {report.name for report in self}
        if len(names) == 1:
            return self.get(names.pop())
        if not names:
            raise self.not_ready(None)
        raise ServiceProblem(
            ServiceCode.MODEL_UNSPECIFIED,
            f"{len(names)} models are served, and the request names none.",
            remedy="Add the field `model` with one of `models`.",
            models=self._names(),
        )

    def require_any_ready(self) -> None:
        """Let nobody send a file as long as no model could answer.

        Raises:
            ServiceProblem: none is ready (503).
        """
        if not any(report.state is ModelState.READY for report in self):
            raise self.not_ready(next(iter(self), None))

    def require_ready(self, report: ModelReport) -> None:
        """Let only requests for ready models pass.

        Raises:
            ServiceProblem: it is not (503).
        """
        if report.state is not ModelState.READY:
            raise self.not_ready(report)

    def not_ready(self, report: ModelReport | None) -> ServiceProblem:
        """Say that a model does not answer yet, or never will, and why."""
        again = {"Retry-After": str(self._retry_after)}
        if report is not None and report.failure is not None:
            return ServiceProblem(
                ServiceCode.MODEL_NOT_READY,
                f"The model is not served: {report.failure.detail}",
                remedy=report.failure.remedy,
                headers=None if report.state is ModelState.FAILED else again,
                reason=report.failure.model_dump(),
                state=report.state,
            )
        state = ModelState.LOADING if report is None else report.state
        return ServiceProblem(
            ServiceCode.MODEL_NOT_READY,
            f"The model is {state}: its self-test has not passed yet.",
            remedy=f"Send the request again in {self._retry_after} s; /v2/health/ready says when all models "
            "are ready.",
            headers=again,
            state=state,
        )

    def _find(self, name: str) -> ModelReport | None:
        meant = self._aliases.get(name, name)
        exact = [report for report in self if report.key == meant]
        versions = [report for report in self if report.name == meant]
        return next(iter(exact), None) or max(versions, key=_age, default=None)

    def _names(self) -> list[str]:
        return [report.key for report in self] + sorted(self._aliases)


def _age(report: ModelReport) -> list[Any]:
    """Compare versions as people do: 10 comes after 9."""
    pieces = re.split(r"(\d+)", report.version or "")
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]
