"""The answer: what ``predict`` writes beside the mask, and what the service returns."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from .schema import Frozen

ANSWER_VERSION = 1


class Outcome(StrEnum):
    """What came out. Empty is an answer, a finding only where ``meaning`` says so; a rejection never is."""

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
    """What an empty mask may be taken for; a finding only where a calibration says how sure that is."""

    NO_FINDING = "no_finding"
    NO_DECISION = "no_decision"
    INDETERMINATE = "indeterminate"


class Empty(Frozen):
    """Why there is nothing in the mask."""

    reason: EmptyReason
    meaning: EmptyMeaning


class Evidence(Frozen):
    """One way in which the image is unlike the known ones.

    Attributes:
        name: of the score, or code of the breach of the contract.
        message: a sentence for people.
        observed, expected: what was seen, and what the known cases look like.
        outside: whether something lies outside of everything known; else it is unusual, but known.
        z: robust deviations from the calibration cases' median; None where there are none.
        p: share of cases at least as strange in this one respect. Explains, and decides nothing: of several
            respects one is often small.
    """

    name: str
    message: str
    observed: Any = None
    expected: Any = None
    outside: bool = False
    z: float | None = None
    p: float | None = None


class UnusualTile(Frozen):
    """Where the image looks least familiar to the network.

    Attributes:
        voxels: first and behind last voxel along each axis (z, y, x) of the image.
        corners_mm: two opposite corners of the same box in the patient's coordinates (x, y, z; LPS), smallest
            and largest; None for pictures.
        z: robust deviations from the strangest tiles of the calibration cases.
    """

    voxels: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    corners_mm: tuple[tuple[float, float, float], tuple[float, float, float]] | None
    z: float


class Distribution(Frozen):
    """How like the known images the image is.

    Attributes:
        verdict: see ``Verdict``.
        basis: ``conformal``: the verdict keeps its level; ``heuristic``: by rule of thumb, for lack of
            calibration cases; ``contract``: by definition; ``none``: there is no calibration.
        guarantee: what the levels promise: conformal, approximate or none.
        remark: what limits the promise: levels that so few cases cannot reach, folds that know every case.
        p: share of cases at least as strange as this one, itself counted.
        statistic: a fixed function of the case, larger is stranger: what drift is watched by.
        p_min: smallest that p can be.
        n_calibration: cases that this one was ranked against.
        levels: shares of usual cases that may be called so by mistake; None for one that cannot be reached.
        site: name of the site whose own cases this one was ranked against.
        evidence: strangest first.
        unusual_tiles: strangest first; only where the verdict is not ``in_distribution``.
    """

    verdict: Verdict = Verdict.NOT_CALIBRATED
    basis: str = "none"
    guarantee: str = "none"
    remark: str | None = None
    p: float | None = None
    statistic: float | None = None
    p_min: float | None = None
    n_calibration: int = 0
    levels: dict[str, float | None] = Field(default_factory=dict)
    site: str | None = None
    evidence: tuple[Evidence, ...] = ()
    unusual_tiles: tuple[UnusualTile, ...] = ()


class PresenceAnswer(Frozen):
    """Whether a label is there, by a calibration.

    Attributes:
        decision: present, empty or indeterminate.
        lower, upper: scores below which it is empty, above which present; None where that cannot be promised.
            Where lower is above upper, one threshold between them divides.
        p: share of cases without the label, this one counted among them, that score as high.
        guarantee: conformal, approximate, surrogate, or none for a strange image.
        false_alarms: promised share of cases without the label that are called present.
        misses: promised share of cases with it that are called empty.
        n_lesion_free, n_lesion_bearing: scores behind the two thresholds.
    """

    decision: str
    lower: float | None
    upper: float | None
    p: float
    guarantee: str
    false_alarms: float
    misses: float
    n_lesion_free: int
    n_lesion_bearing: int


class LabelAnswer(Frozen):
    """What was found of one label. Volume in millilitres; None for pictures without a physical size.

    Attributes:
        present: whether the mask holds it.
        presence_score: of the calibration; positive where the network marked something of the label.
        presence: what the calibration decides; None where it knows too little.
        empty: why the mask does not hold it, or should not.
    """

    name: str
    present: bool
    voxels: int
    volume_ml: float | None
    components: int
    presence_score: float | None = None
    presence: PresenceAnswer | None = None
    empty: Empty | None = None


class Guarantee(Frozen):
    """What is promised about the error rates of presence: the weakest promise of all labels.

    Attributes:
        kind: conformal, approximate, surrogate or none; see docs/presence.md.
        alpha: share of cases without a label that are called present.
        n: scores behind it.
        misses: share of cases with a label that are called empty.
        remark: what limits the promise.
    """

    kind: str = "none"
    alpha: float | None = None
    n: int = 0
    misses: float | None = None
    remark: str | None = None


class Policy(Frozen):
    """What was asked for, and what was done to the mask because of it.

    Attributes:
        ood: ``return``, ``flag``, ``suppress`` or ``reject``.
        empty: ``return``, ``flag``, ``raw`` or ``reject``.
        applied: what was done, in this order.
        removed_components: each connected component that is no longer in the mask: ``label`` (or labels),
            ``reason``, ``voxels``, ``volume_ml``, and its centroid: ``place`` in voxels (z, y, x) of the
            image, ``place_mm`` in the patient's coordinates (x, y, z; LPS). None instead of millilitres and
            millimetres for pictures. Beyond the 1000 largest of one step or label, a last row stands for
            all others, and ``components`` says for how many.
    """

    ood: str = "flag"
    empty: str = "flag"
    applied: tuple[str, ...] = ()
    removed_components: tuple[dict[str, Any], ...] = ()


class UncertaintyMap(Frozen):
    """A map of 8 bits in the image's geometry: ``value * scale`` is what it measures.

    Attributes:
        measure: ``entropy`` of the mean probabilities, as a share of the largest possible; or
            ``mutual_information`` between member and label, likewise.
        file: beside the mask; None where it was not written to a file.
        scale: of one step.
        mean_in_mask: over the marked voxels; None where there are none.
    """

    measure: str
    file: str | None = None
    scale: float = 1 / 255
    mean_in_mask: float | None = None


class Quality(Frozen):
    """Expected quality, where a calibration gives one.

    Attributes:
        expected_dice: of the mask as a whole, mean over its labels.
        interval: that holds the true one in a share ``coverage`` of cases; None with too few cases.
        n: calibration cases behind the interval.
        remark: why the interval may hold a little more or less often; None where it is exact.
        uncertainty_map: file of the first map, where one was asked for.
        uncertainty: all maps.
    """

    expected_dice: float | None = None
    interval: tuple[float, float] | None = None
    coverage: float | None = None
    n: int = 0
    remark: str | None = None
    uncertainty_map: str | None = None
    uncertainty: tuple[UncertaintyMap, ...] = ()


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


class PushState(StrEnum):
    """What became of the wish to store results in an archive."""

    STORED = "stored"
    FAILED = "failed"
    WITHHELD = "withheld"


class Push(Frozen):
    """DICOM objects on their way to an archive.

    Attributes:
        archive: the operator's name for it.
        state: ``stored``: it has them; ``failed``: it has not all of them, and ``problem`` says why;
            ``withheld``: there was none to send, or one that would look like a finding of nothing.
        objects: kinds of what was sent, such as ``seg``.
        attempts: how often.
    """

    archive: str
    state: PushState
    objects: tuple[str, ...] = ()
    attempts: int = 0
    problem: Problem | None = None


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
    push: Push | None = None  # where the service was asked to store results in an archive
    manifest: Manifest
