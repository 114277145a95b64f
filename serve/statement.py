"""What is stated of a segmented image: outcome, labels, why there is nothing, what the policies did."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .answer import (
    Empty,
    EmptyMeaning,
    EmptyReason,
    Guarantee,
    LabelAnswer,
    Outcome,
    Policy,
    PresenceAnswer,
    Verdict,
)
from .measure import measure_labels
from .policies import OOD_SUPPRESSED, EmptyPolicy, OodPolicy, Policies
from .safety.presence import Presence
from .safety.presence_decision import Decision, decide
from .safety.removal import listed, listed_label, listed_step, remove
from .statement_words import (
    EMPTY,
    EMPTY_FLAG,
    EMPTY_NOT_CALIBRATED,
    OUT_OF_DISTRIBUTION,
    POLICY_WITHOUT_CALIBRATION,
    REMARKS,
    STRANGE,
    STRANGE_REMARK,
    SUPPRESSED,
    open_warning,
    removed_warning,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .answer import Problem, Warning_
    from .image import Image
    from .pipeline.segment import Segmentation
    from .safety.candidates import LabelCandidates
    from .safety.presence_section import PresenceSection
    from .schema import Label, ModelDescription


_ACTING = (OodPolicy.SUPPRESS, OodPolicy.REJECT)  # on strange images


@dataclass(frozen=True, eq=False)
class Statement:
    """The parts of an answer that are decided from the mask, with the mask.

    Attributes:
        mask: (z, y, x) as it is given; None where the image is rejected.
        raw: the mask before anything was removed, where that was asked for.
        outcome, labels, empty, problem, guarantee, policy: of the answer.
        warnings: to be added.
    """

    mask: NDArray[Any] | None
    outcome: Outcome
    labels: tuple[LabelAnswer, ...]
    policy: Policy
    empty: Empty | None = None
    problem: Problem | None = None
    guarantee: Guarantee = Guarantee()  # noqa: RUF009 - frozen
    warnings: tuple[Warning_, ...] = ()
    raw: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class Ground:
    """What a statement rests on.

    Attributes:
        image: as it was read.
        segmentation: mask, and what postprocessing removed.
        description: of the model.
        policies: what was asked for.
        verdict: whether the image is like the known ones.
        is_doubtful: whether the image is so unlike the training images that an empty mask says nothing.
        candidates: of the labels; empty where the engine gives no logits.
        presence: of the calibration.
        limits: why the calibration's promises hold only approximately for this run, in sentences.
    """

    image: Image
    segmentation: Segmentation
    description: ModelDescription
    policies: Policies = Policies()  # noqa: RUF009 - frozen
    verdict: Verdict = Verdict.NOT_CALIBRATED
    is_doubtful: bool = False
    candidates: Sequence[LabelCandidates] = ()
    presence: PresenceSection | None = None
    limits: Sequence[str] = ()

    @property
    def is_strange(self) -> bool:
        """Whether the image is of another kind than those that the promises are about."""
        return self.verdict is Verdict.OUT_OF_DISTRIBUTION


def state(ground: Ground) -> Statement:
    """Decide, and apply the policies.

    A rejection, and an emptied mask of a strange image, is never ``no_finding``.
    """
    if ground.is_strange:
        if ground.policies.ood is OodPolicy.REJECT:
            return _rejected(ground, OUT_OF_DISTRIBUTION, EmptyReason.REJECTED_OOD)
        if ground.policies.ood is OodPolicy.SUPPRESS:
            return _suppressed(ground)
    statement = _Decided(ground).statement()
    nothing = statement.mask is not None and not statement.mask.any()
    if ground.policies.empty is EmptyPolicy.REJECT and nothing:
        reason = EmptyReason.NO_VOXEL_ABOVE_THRESHOLD if statement.empty is None else statement.empty.reason
        return _rejected(ground, EMPTY, reason, statement.policy)
    return statement


@dataclass(eq=False)
class _Decided:
    """One image's decisions, and what follows from them."""

    ground: Ground
    decisions: Mapping[str, Decision] = field(init=False)
    removed: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        ground = self.ground
        section = ground.presence
        decisions = {} if section is None else decide(section, ground.candidates)
        # nobody counted how often the model overlooks something in strange images: no absence, no removal
        self.decisions = _without_absence(decisions) if ground.is_strange else decisions
        self.mask, self.removed = remove(ground.segmentation.mask, self.decisions, ground.description.labels)
        measured = measure_labels(self.mask, ground.image.geometry, ground.description)
        self.has_any = any(label.present for label in measured)
        self.labels = tuple(map(self._label, ground.description.labels, measured))

    def statement(self) -> Statement:
        ground = self.ground
        outcome = self._outcome()
        wants_raw = ground.policies.empty is EmptyPolicy.RAW
        return Statement(
            mask=self.mask,
            raw=ground.segmentation.before_removal if wants_raw else None,
            outcome=outcome,
            labels=self.labels,
            policy=self._policy(),
            empty=self._empty(outcome),
            guarantee=_guarantee(ground, self.decisions),
            warnings=tuple(self._warnings(outcome)),
        )

    def _outcome(self) -> Outcome:
        said = {self._said(label) for label in self.labels}
        if Presence.PRESENT in said:
            return Outcome.SEGMENTED
        return Outcome.INDETERMINATE if Presence.INDETERMINATE in said else Outcome.EMPTY

    def _said(self, label: LabelAnswer) -> Presence:
        """What the mask and the decision say together: an empty label with voxels left is not decided."""
        decision = self.decisions.get(label.name)
        if decision is None:
            absent = Presence.INDETERMINATE if self.ground.is_strange else Presence.EMPTY
            return Presence.PRESENT if label.present else absent
        if decision.presence is Presence.EMPTY and label.present:
            return Presence.INDETERMINATE
        return decision.presence

    def _label(self, label: Label, measured: LabelAnswer) -> LabelAnswer:
        decision = self.decisions.get(label.name)
        changes: dict[str, Any] = {"empty": self._label_empty(label, measured)}
        if decision is not None and self.ground.presence is not None:
            presence = _presence(decision, self.ground.presence, self.ground)
            changes |= {"presence_score": round(decision.score, 6), "presence": presence}
        return measured.model_copy(update=changes)

    def _label_empty(self, label: Label, measured: LabelAnswer) -> Empty | None:
        """Why a label is not in the mask, or, on a surrogate, should not be."""
        decision = self.decisions.get(label.name)
        below = decision is not None and decision.presence is Presence.EMPTY and bool(decision.scores)
        if measured.present and not below:
            return None
        if below:
            reason = EmptyReason.ALL_COMPONENTS_BELOW_CONFIDENCE
        elif self._was_small(label):
            reason = EmptyReason.ALL_COMPONENTS_BELOW_SIZE
        else:
            reason = EmptyReason.LABEL_ABSENT if self.has_any else EmptyReason.NO_VOXEL_ABOVE_THRESHOLD
        is_decided = decision is not None and decision.presence is Presence.EMPTY
        return self._meant(reason, is_decided=is_decided and not measured.present)

    def _was_small(self, label: Label) -> bool:
        """Whether postprocessing took out what there was of a label."""
        return any(
            removal.components and set(removal.step.values) & set(label.members)
            for removal in self.ground.segmentation.removed
        )

    def _meant(self, reason: EmptyReason, *, is_decided: bool) -> Empty:
        """An empty mask is a finding where a calibration decided so, and the image is like the known ones."""
        is_finding = is_decided and not self.ground.is_doubtful
        meaning = EmptyMeaning.NO_FINDING if is_finding else EmptyMeaning.INDETERMINATE
        return Empty(reason=reason, meaning=meaning)

    def _empty(self, outcome: Outcome) -> Empty | None:
        """The labels' most telling reason: removed by confidence, then by size, then nothing at all."""
        if outcome is Outcome.SEGMENTED:
            return None
        reasons = {label.empty.reason for label in self.labels if label.empty is not None}
        if len(reasons) < 1 or (outcome is Outcome.INDETERMINATE and not self._nothing_is_left(reasons)):
            return None
        telling = (EmptyReason.ALL_COMPONENTS_BELOW_CONFIDENCE, EmptyReason.ALL_COMPONENTS_BELOW_SIZE)
        reason = next((one for one in telling if one in reasons), EmptyReason.NO_VOXEL_ABOVE_THRESHOLD)
        return self._meant(reason, is_decided=outcome is Outcome.EMPTY and self._knows_all)

    @property
    def _knows_all(self) -> bool:
        """Whether the calibration had something to say about each label."""
        return all(label.name in self.decisions for label in self.labels)

    def _nothing_is_left(self, reasons: set[EmptyReason]) -> bool:
        """Whether the mask is empty, or would be if a surrogate were allowed to change it."""
        return not self.has_any or EmptyReason.ALL_COMPONENTS_BELOW_CONFIDENCE in reasons

    def _policy(self) -> Policy:
        segmentation = self.ground.segmentation
        geometry, labels = self.ground.image.geometry, self.ground.description.labels
        found = {one.label: one for one in self.ground.candidates}
        rows = [row for removal in segmentation.removed for row in listed_step(removal, labels, geometry)]
        for name in self.removed:
            rows += listed(found[name], self.decisions[name], geometry)
        return Policy(
            ood=self.ground.policies.ood,
            empty=self.ground.policies.empty,
            applied=(
                *(removal.step.function for removal in segmentation.removed),
                *(f"presence.removed:{name}" for name in self.removed),
            ),
            removed_components=tuple(rows),
        )

    def _warnings(self, outcome: Outcome) -> list[Warning_]:
        ground = self.ground
        told = []
        if ground.policies.ood is not OodPolicy.RETURN and ground.verdict in STRANGE:
            told.append(STRANGE[ground.verdict])
        if ground.policies.ood in _ACTING and ground.verdict is Verdict.NOT_CALIBRATED:
            told.append(POLICY_WITHOUT_CALIBRATION)
        if outcome is Outcome.EMPTY and not self._knows_all:
            told.append(EMPTY_NOT_CALIBRATED)
        if ground.policies.empty is not EmptyPolicy.RETURN:
            told += self._flags(outcome)
        return told

    def _flags(self, outcome: Outcome) -> list[Warning_]:
        told = []
        if self.removed:
            told.append(removed_warning(self.removed))
        open_labels = [label.name for label in self.labels if self._said(label) is Presence.INDETERMINATE]
        if open_labels:
            told.append(open_warning(open_labels))
        if outcome is Outcome.EMPTY and self.decisions:
            told.append(EMPTY_FLAG)
        return told


def _without_absence(decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """Leave open what was decided to be empty."""
    return {
        name: replace(one, presence=Presence.INDETERMINATE) if one.presence is Presence.EMPTY else one
        for name, one in decisions.items()
    }


def _presence(decision: Decision, section: PresenceSection, ground: Ground) -> PresenceAnswer:
    known = decision.known
    return PresenceAnswer(
        decision=decision.presence,
        lower=known.lower,
        upper=known.upper,
        p=decision.p,
        guarantee=_limited(known.guarantee, ground),
        false_alarms=section.false_alarms,
        misses=section.misses,
        n_lesion_free=len(known.lesion_free),
        n_lesion_bearing=len(known.lesion_bearing),
    )


_STRENGTH = ("surrogate", "approximate", "conformal")


def _limited(kind: str, ground: Ground) -> str:
    """What is left of a promise about images like the known ones, in a run like the calibration's."""
    if ground.is_strange:
        return "none"
    return "approximate" if ground.limits and kind == "conformal" else kind


def _guarantee(ground: Ground, decisions: Mapping[str, Decision]) -> Guarantee:
    """The weakest promise of all labels that were decided."""
    section = ground.presence
    if section is None or not decisions:
        return Guarantee()
    weakest = min(
        (decision.known for decision in decisions.values()),
        key=lambda known: (_STRENGTH.index(known.guarantee), len(known.lesion_free)),
    )
    if ground.is_strange:
        return Guarantee(kind="none", remark=STRANGE_REMARK)
    remarks = [*filter(None, [REMARKS.get(weakest.guarantee)]), *ground.limits]
    return Guarantee(
        kind=_limited(weakest.guarantee, ground),
        alpha=section.false_alarms,
        n=len(weakest.lesion_free),
        misses=section.misses,
        remark=" ".join(remarks) or None,
    )


def _rejected(
    ground: Ground, problem: Problem, reason: EmptyReason, policy: Policy | None = None
) -> Statement:
    """No mask, and no finding."""
    asked = policy or Policy(ood=ground.policies.ood, empty=ground.policies.empty)
    applied = (*asked.applied, problem.code)
    return Statement(
        mask=None,
        outcome=Outcome.REJECTED,
        labels=(),
        policy=asked.model_copy(update={"applied": applied}),
        empty=Empty(reason=reason, meaning=EmptyMeaning.NO_DECISION),
        problem=problem,
    )


def _suppressed(ground: Ground) -> Statement:
    """An empty mask that decides nothing; what it held is listed."""
    geometry, known = ground.image.geometry, ground.description.labels
    empty = Empty(reason=EmptyReason.REJECTED_OOD, meaning=EmptyMeaning.NO_DECISION)
    mask = np.zeros_like(ground.segmentation.mask)
    labels = measure_labels(mask, ground.image.geometry, ground.description)
    rows = [row for removal in ground.segmentation.removed for row in listed_step(removal, known, geometry)]
    reason = EmptyReason.REJECTED_OOD.value
    for label in known:
        rows += listed_label(ground.segmentation.mask, label, reason, geometry)
    return Statement(
        mask=mask,
        outcome=Outcome.INDETERMINATE,
        labels=tuple(label.model_copy(update={"empty": empty}) for label in labels),
        empty=empty,
        policy=Policy(
            ood=ground.policies.ood,
            empty=ground.policies.empty,
            applied=(OOD_SUPPRESSED,),
            removed_components=tuple(rows),
        ),
        warnings=(SUPPRESSED,),
    )
