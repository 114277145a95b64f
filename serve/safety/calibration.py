"""``calibration.json``: what is known of how a bundle answers cases that it has not seen.

Written by ``nnunet-losses calibrate``, read by everything that answers. Numbers that a person may want to see
stand here; arrays (fitted scores, scores of the calibration cases) stand in ``calibration.npz`` beside it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from nnunet_losses.serve.schema import Frozen

from .learnt import LearntContract  # noqa: TC001 - pydantic reads it
from .presence_section import PresenceSection  # noqa: TC001 - pydantic reads it
from .quality_section import QualitySection  # noqa: TC001 - pydantic reads it

CALIBRATION = "calibration.json"
CALIBRATION_ARRAYS = "calibration.npz"
SITE = "site.json"
SITE_ARRAYS = "site.npz"
CALIBRATION_VERSION: Literal[1] = 1


class GuaranteeKind(StrEnum):
    """What is promised about a rate of false alarms.

    ``conformal``: it holds for cases that are exchangeable with the calibration cases, whatever their number.
    ``approximate``: every calibration case trained a part of the model.
    ``surrogate``: other things stood in for cases of the kind that was needed.
    ``none``: nothing is promised.
    """

    CONFORMAL = "conformal"
    APPROXIMATE = "approximate"
    SURROGATE = "surrogate"
    NONE = "none"


class Levels(Frozen):
    """Shares of usual cases that may be called strange by mistake."""

    suspicious: float = Field(default=0.05, gt=0, lt=1)
    out_of_distribution: float = Field(default=0.01, gt=0, lt=1)


class FoldCases(Frozen):
    """Of which cases one fold's scores come.

    Attributes:
        fold: its name; ``bundle`` where all folds together answered, whose first gives the features.
        fitted: cases that the scores were fitted to.
        ranked: cases that new ones are ranked against; of each group one.
    """

    fold: str
    fitted: int
    ranked: int


class DistributionSection(Frozen):
    """How strange a case may be.

    Attributes:
        guarantee: what the levels promise.
        remark: why no more is promised.
        n: number of cases that new ones are ranked against.
        refused: those of them that the input contract refused. They have no scores, and count as stranger
            than every image that it admits; left out, the false alarms of the contract would come on top.
        scores: names of the scores, in the vectors' order.
        folds: where they come from.
        levels: see ``Levels``.
        heuristic_z: where n is too small for the lower level: the strangest of all, and this many robust
            deviations away, is called ``out_of_distribution``, by rule of thumb.
        pac: share of all calibrations that may break the levels; None where the levels are kept on average.
        learnt: what the known cases look like, in words.
    """

    guarantee: GuaranteeKind
    remark: str | None = None
    n: int = Field(ge=0)
    refused: int = Field(default=0, ge=0)
    scores: tuple[str, ...]
    folds: tuple[FoldCases, ...]
    levels: Levels = Levels()
    heuristic_z: float = 8.0
    pac: float | None = Field(default=None, gt=0, lt=1)
    learnt: LearntContract


class Counts(Frozen):
    """Cases that the served pipeline ran on.

    Attributes:
        cases: all of them.
        fitted: whose observations the scores were fitted to.
        ranked: that were not, and of them that
        lesion_bearing, lesion_free, unlabelled: have something to find, have not, or nobody knows.
        outliers: known to be strange; nothing was fitted to them.
        groups: patients, or whatever makes cases belong together, among the ranked.
        set_aside: unseen by the network, but of a group that it has seen, or a copy of a fitted image.
        refused: unseen ones that the input contract refused; they count as the strangest.
    """

    cases: int
    fitted: int
    ranked: int
    lesion_bearing: int = 0
    lesion_free: int = 0
    unlabelled: int = 0
    outliers: int = 0
    groups: int = 0
    set_aside: int = 0
    refused: int = 0


class Identity(Frozen):
    """What a calibration belongs to.

    Attributes:
        networks: SHA-256 of each network file.
        preprocessing: SHA-256 of everything in ``model.json`` that changes an answer.
        splits: SHA-256 of the splits file.
        arrays: SHA-256 of the arrays' file.
        images: SHA-256 of the ranked cases' files, sorted.
        trained: SHA-256 of the files of the cases that the model was trained with, sorted.
    """

    networks: dict[str, str]
    preprocessing: str
    splits: str | None = None
    arrays: str = ""
    images: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()


class Calibration(Frozen):
    """``calibration.json``.

    Attributes:
        created: ISO 8601, UTC.
        versions: of this package and the libraries.
        provider, precision: engine that the networks ran on; features of another differ by rounding.
        identity: the bundle that it belongs to, and no other.
        counts: of cases.
        distribution: whether an image is like the known ones.
        presence: whether there is anything.
        quality: expected Dice.
    """

    schema_version: Literal[1] = CALIBRATION_VERSION
    created: str
    versions: dict[str, str]
    provider: str
    precision: str
    identity: Identity
    counts: Counts
    distribution: DistributionSection | None = None
    presence: PresenceSection | None = None
    quality: QualitySection | None = None


class SiteOverlay(Frozen):
    """``site.json``: unlabelled cases of one site, against which new cases of that site are ranked.

    Attributes:
        name: of the site.
        calibration: SHA-256 of the ``calibration.json`` that it lies over.
        n: number of its cases.
        refused: those of them that the input contract refused; they count as the strangest.
        arrays: SHA-256 of its arrays' file.
        images: SHA-256 of its cases' files, sorted.
        learnt: what they look like, in words.
    """

    schema_version: Literal[1] = CALIBRATION_VERSION
    created: str
    name: str
    calibration: str
    n: int = Field(ge=1)
    refused: int = Field(default=0, ge=0)
    arrays: str
    images: tuple[str, ...]
    learnt: LearntContract
