"""What a worker says about its models."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from ..safety.calibration import Levels  # noqa: TC001 - pydantic reads the annotations
from ..safety.learnt import LearntContract  # noqa: TC001
from ..schema import Frozen, ModelDescription

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..safety.stored import StoredCalibration


class ModelState(StrEnum):
    """How far a model is. Only a ready one answers."""

    LOADING = "loading"
    TESTING = "testing"
    READY = "ready"
    FAILED = "failed"

    @property
    def is_settled(self) -> bool:
        """Whether it will stay so by itself."""
        return self in {ModelState.READY, ModelState.FAILED}


class ModelFailure(Frozen):
    """Why a model is not served."""

    code: str
    detail: str
    remedy: str


class CalibrationFacts(Frozen):
    """What is known of a model's answers.

    Attributes:
        created: when, ISO 8601.
        guarantee: what the levels of the verdict promise.
        n: cases that new ones are ranked against.
        levels: shares of usual cases that may be called strange by mistake.
        site: name of the site whose own cases are ranked against.
        presence, quality: whether presence of labels and expected Dice were calibrated.
        contract: what the known cases look like.
    """

    created: str
    guarantee: str | None = None
    n: int = 0
    levels: Levels | None = None
    site: str | None = None
    presence: bool = False
    quality: bool = False
    contract: LearntContract | None = None

    @classmethod
    def of(cls, stored: StoredCalibration | None) -> Self | None:
        """Summarise a bundle's calibration; None where there is none."""
        if stored is None:
            return None
        calibration, site = stored.calibration, stored.site
        section = calibration.distribution
        ranked = section if site is None else site
        return cls(
            created=calibration.created,
            guarantee=None if section is None else section.guarantee.value,
            n=0 if ranked is None else ranked.n,
            levels=None if section is None else section.levels,
            site=None if site is None else site.name,
            presence=calibration.presence is not None,
            quality=calibration.quality is not None,
            contract=None if ranked is None else ranked.learnt,
        )


class ModelReport(Frozen):
    """One model in one worker, or in all of them.

    Attributes:
        label: the file name that the operator knows.
        name: the bundle's name for it; until that is read, the label.
        version: what follows the ``@`` in the label; None where there is none.
        state, failure: how far it is, and why it is not served; of one that is opened again, why it was not
            the last time.
        description, sha256, provider, precision: of the opened bundle.
        calibration: of the bundle, if it has one.
    """

    label: str
    name: str
    version: str | None = None
    state: ModelState = ModelState.LOADING
    failure: ModelFailure | None = None
    description: ModelDescription | None = None
    sha256: str | None = None
    provider: str | None = None
    precision: str | None = None
    calibration: CalibrationFacts | None = None

    @property
    def key(self) -> str:
        """Name in requests and jobs that means this version and no other.

        Example:
            >>> ModelReport(label="liver@2.bundle", name="liver", version="2").key
            'liver@2'
            >>> ModelReport(label="liver@2", name="liver@2", version="2").key  # its name is not read yet
            'liver@2'
        """
        unread = self.name == self.label
        return self.name if unread or self.version is None else f"{self.name}@{self.version}"


_VERSION = re.compile(r"@([A-Za-z0-9][A-Za-z0-9._-]{0,31}?)(\.bundle|\.zip)*$")


def version_of(label: str) -> str | None:
    """Read the version from a bundle's file name.

    Example:
        >>> version_of("liver@2.1.bundle"), version_of("liver@2024-11"), version_of("liver.bundle")
        ('2.1', '2024-11', None)
    """
    found = _VERSION.search(label)
    return None if found is None else found.group(1)


def unopened(labels: Sequence[str]) -> tuple[ModelReport, ...]:
    """Report models of which nothing is known but the operator's names.

    Example:
        >>> [(report.name, report.version) for report in unopened(["liver@2.bundle"])]
        [('liver@2.bundle', '2')]
    """
    return tuple(ModelReport(label=label, name=label, version=version_of(label)) for label in labels)


def merged(reports: Sequence[tuple[ModelReport, ...]]) -> tuple[ModelReport, ...]:
    """Summarise what several workers say of the same models, in the operator's order.

    Workers that still load (after a restart, for example) do not count as long as another one is done: a
    model is ready when it is so in every worker that is done with it, for any of them may get the job.
    Of workers that are as far, one that failed before is told of.
    """
    return tuple(_summary(same) for same in zip(*(worker for worker in reports if worker), strict=True))


def _summary(same: tuple[ModelReport, ...]) -> ModelReport:
    order = (ModelState.FAILED, ModelState.READY, ModelState.TESTING, ModelState.LOADING)
    return min(same, key=lambda report: (order.index(report.state), report.failure is None))
