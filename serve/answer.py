"""The answer: what ``predict`` writes beside the mask, and what the service returns."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from .schema import Frozen

ANSWER_VERSION = 1


class Outcome(StrEnum):
    """What came out. Empty is a finding; a rejection never is."""

    SEGMENTED = "segmented"
    EMPTY = "empty"
    INDETERMINATE = "indeterminate"
    REJECTED = "rejected"


class Verdict(StrEnum):
    """Whether the image is like the training data."""

    IN_DISTRIBUTION = "in_distribution"
    SUSPICIOUS = "suspicious"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    NOT_CALIBRATED = "not_calibrated"


class EmptyReason(StrEnum):
    """Why a mask is empty."""

    NO_VOXEL_ABOVE_THRESHOLD = "NO_VOXEL_ABOVE_THRESHOLD"
    ALL_COMPONENTS_BELOW_SIZE = "ALL_COMPONENTS_BELOW_SIZE"
    ALL_COMPONENTS_BELOW_CONFIDENCE = "ALL_COMPONENTS_BELOW_CONFIDENCE"
    INPUT_BLANK = "INPUT_BLANK"
    REJECTED_OOD = "REJECTED_OOD"
    LABEL_ABSENT = "LABEL_ABSENT"


class EmptyMeaning(StrEnum):
    """What an empty mask may be taken for."""

    NO_FINDING = "no_finding"
    NO_DECISION = "no_decision"
    INDETERMINATE = "indeterminate"


class Empty(Frozen):
    """Why there is nothing in the mask."""

    reason: EmptyReason
    meaning: EmptyMeaning


class Distribution(Frozen):
    """How like the training data the image is."""

    verdict: Verdict = Verdict.NOT_CALIBRATED
    p: float | None = None
    p_min: float | None = None
    n_calibration: int = 0
    evidence: tuple[dict[str, Any], ...] = ()


class LabelAnswer(Frozen):
    """What was found of one label. Volume in millilitres; None for pictures without a physical size."""

    name: str
    present: bool
    voxels: int
    volume_ml: float | None
    components: int
    presence_score: float | None = None


class Guarantee(Frozen):
    """What is promised about error rates."""

    kind: str = "none"
    alpha: float | None = None
    n: int = 0


class Policy(Frozen):
    """What was asked for, and what was done to the mask because of it."""

    ood: str = "flag"
    empty: str = "flag"
    applied: tuple[str, ...] = ()
    removed_components: tuple[dict[str, Any], ...] = ()


class Quality(Frozen):
    """Expected quality, where a calibration gives one."""

    expected_dice: float | None = None
    interval: tuple[float, float] | None = None
    uncertainty_map: str | None = None


class Warning_(Frozen):
    """Something repaired, degraded, approximated or unusual."""

    code: str
    message: str
    observed: Any = None
    expected: Any = None


class Problem(Frozen):
    """Why the input was rejected."""

    code: str
    detail: str
    remedy: str
    observed: Any = None
    expected: Any = None


class Manifest(Frozen):
    """What produced the answer."""

    model: str
    bundle_sha256: str
    input_sha256: str | None
    versions: dict[str, str]
    provider: str | None = None
    precision: str | None = None
    tiles: int = 0
    forward_passes: int = 0
    mask_sha256: str | None = None
    timings: dict[str, float] = Field(default_factory=dict)  # seconds by stage


class Answer(Frozen):
    """One image's answer."""

    answer_version: int = ANSWER_VERSION
    case: str
    outcome: Outcome
    spacing: tuple[float, float, float] | None = None  # of the mask's voxels (z, y, x), millimetres
    distribution: Distribution = Distribution()
    labels: tuple[LabelAnswer, ...] = ()
    empty: Empty | None = None
    problem: Problem | None = None
    guarantee: Guarantee = Guarantee()
    policy: Policy = Policy()
    quality: Quality = Quality()
    warnings: tuple[Warning_, ...] = ()
    manifest: Manifest
