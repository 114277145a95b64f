"""From records to a calibration: who is fitted, who is ranked, and what may be promised."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from nnunet_losses.serve.safety.calibration import Calibration, Counts, GuaranteeKind
from nnunet_losses.serve.safety.candidates import CaseCandidates
from nnunet_losses.serve.safety.distribution import (
    DistributionModel,
    FoldObservations,
    Settings,
    calibrate_folds,
)
from nnunet_losses.serve.safety.learnt import LearntContract
from nnunet_losses.serve.safety.presence_fit import fit_presence
from nnunet_losses.serve.safety.quality import fit_quality
from nnunet_losses.serve.safety.stored import identity_of, model_arrays, packed
from nnunet_losses.serve.safety.unusual import strangest_tiles
from nnunet_losses.serve.safety.verdict import judge
from nnunet_losses.serve.versions import versions

from .errors import CalibrationError
from .records import CaseRecord, Kind, Refused, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.answer import Verdict
    from nnunet_losses.serve.schema import ModelDescription

    from .planning import Plan

AnyCase = TypeVar("AnyCase", bound=CaseRecord | Refused)


@dataclass(frozen=True)
class PresenceLevels:
    """Shares of wrong decisions about presence that are allowed."""

    false_alarms: float = 0.05
    misses: float = 0.05


@dataclass(frozen=True)
class BuildSettings:
    """How a calibration is made of records.

    Attributes:
        distribution: see ``Settings``.
        presence: see ``PresenceLevels``.
        splits: SHA-256 of the splits file.
    """

    distribution: Settings = field(default_factory=Settings)
    presence: PresenceLevels = field(default_factory=PresenceLevels)
    splits: str | None = None


@dataclass(frozen=True, eq=False)
class Built:
    """A calibration, ready to be written.

    Attributes:
        calibration: ``calibration.json``.
        model: of the distribution.
        arrays: content of ``calibration.npz``.
        outliers: verdict about each of the cases that should be called strange, by name.
    """

    calibration: Calibration
    model: DistributionModel
    arrays: bytes
    outliers: dict[str, Verdict]


def build(
    records: Sequence[CaseRecord],
    plan: Plan,
    description: ModelDescription,
    *,
    engine: tuple[str, str],
    settings: BuildSettings = BuildSettings(),
    refused: Sequence[Refused] = (),
) -> Built:
    """Make a calibration of records.

    Args:
        records: of the plan's cases.
        plan: says which folds, and what is promised.
        description: of the model.
        engine: provider and precision that the networks ran on.
        settings: levels.
        refused: cases of the plan that the contract refused: where they are ranked, the strangest.

    Raises:
        CalibrationError: where no case is left to be ranked, or none to fit to.
    """
    everybody: list[CaseRecord | Refused] = [*records, *refused]
    drawn = _drawn(everybody, plan)
    ranked = {fold: [one for one in own if isinstance(one, CaseRecord)] for fold, own in drawn.items()}
    strangest = {fold: len(own) - len(ranked[fold]) for fold, own in drawn.items()}
    folds = [_fold_observations(fold, records, ranked[fold], strangest[fold]) for fold in plan.folds]
    _require_cases(folds)
    model = _with_tiles(_distribution(folds, plan, description, settings), list(ranked.values()))
    arrays = packed(model_arrays(model))
    chosen = [record for own in ranked.values() for record in own]
    known = [
        CaseCandidates(case=record.name, labels=record.candidates) for record in chosen if _has_truth(record)
    ]
    approximate = plan.guarantee is not GuaranteeKind.CONFORMAL
    levels = settings.presence
    identity = identity_of(description).model_copy(
        update={
            "splits": settings.splits,
            "arrays": hashlib.sha256(arrays).hexdigest(),
            "images": tuple(sorted(record.input_sha256 for record in chosen)),
            "trained": tuple(sorted({one.input_sha256 for one in records if one.role is Role.FITTED})),
        }
    )
    calibration = Calibration(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        provider=engine[0],
        precision=engine[1],
        identity=identity,
        counts=_counts(records, chosen, sum(strangest.values())),
        distribution=model.section,
        presence=fit_presence(
            known, false_alarms=levels.false_alarms, misses=levels.misses, approximate=approximate
        )
        if known
        else None,
        quality=fit_quality(known),
    )
    return Built(calibration, model, arrays, _judged_outliers(model, records))


def independent(records: Sequence[AnyCase], fold: str | None) -> list[AnyCase]:
    """Choose the cases of a fold that new ones are ranked against: unseen, and of each group one.

    Left out are copies of images that were trained with, and all cases of a group (a patient) of which
    the fold was trained with another one. Of a group with several cases one is drawn by a hash of its
    name, so that neither its image nor its score has a say.

    Args:
        records: of all cases, refused ones among them: these were trained with, or are drawn, as any other.
        fold: which fold's.
    """
    seen = [record for record in records if record.role is Role.FITTED and record.fold == fold]
    images, groups = {record.input_sha256 for record in seen}, {record.group for record in seen}
    chosen: dict[str, AnyCase] = {}
    taken: set[str] = set()
    for record in sorted(records, key=lambda record: _draw(record.name)):
        if record.role is not Role.RANKED or record.fold != fold:
            continue
        is_new = record.input_sha256 not in images and record.group not in groups
        if is_new and record.group not in chosen and record.input_sha256 not in taken:
            chosen[record.group] = record
            taken.add(record.input_sha256)
    return sorted(chosen.values(), key=lambda record: record.name)


def _drawn(records: Sequence[AnyCase], plan: Plan) -> dict[str | None, list[AnyCase]]:
    """Cases of each fold; splits may hold a case out of several, and it counts in the first one."""
    drawn: dict[str | None, list[AnyCase]] = {}
    for fold in plan.folds:
        before = [one for own in drawn.values() for one in own]
        groups, images = {one.group for one in before}, {one.input_sha256 for one in before}
        drawn[fold] = [
            one
            for one in independent(records, fold)
            if one.group not in groups and one.input_sha256 not in images
        ]
    return drawn


def _draw(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _fold_observations(
    fold: str | None, records: Sequence[CaseRecord], ranked: Sequence[CaseRecord], refused: int
) -> FoldObservations:
    fitted = [r.observation for r in records if r.role is Role.FITTED and r.fold == fold]
    return FoldObservations(fold or "bundle", fitted, [record.observation for record in ranked], refused)


def _require_cases(folds: Sequence[FoldObservations]) -> None:
    for fold in folds:
        if len(fold.fitted) < 2:
            raise CalibrationError(
                f"There are {len(fold.fitted)} training cases to fit to (fold {fold.name}); two at least are "
                "needed, and some dozens for scores that see much."
            )
    if not any(len(fold.ranked) for fold in folds):
        raise CalibrationError(
            "No case is left to rank new ones against: all were trained with, or belong to a patient with an "
            "image that was. Give cases that the model has not seen: --held-out DIR."
        )


def _distribution(
    folds: Sequence[FoldObservations], plan: Plan, description: ModelDescription, settings: BuildSettings
) -> DistributionModel:
    known = [case for fold in folds for case in fold.fitted]
    labels = [label.name for label in description.labels]
    learnt = LearntContract.of(known, channels=description.channel_names, labels=labels)
    return calibrate_folds(
        folds, settings.distribution, guarantee=plan.guarantee, remark=plan.remark, learnt=learnt
    )


def _with_tiles(model: DistributionModel, ranked: Sequence[Sequence[CaseRecord]]) -> DistributionModel:
    folds = tuple(
        replace(fold, strangest=strangest_tiles(fold.scorer, (record.tiles for record in own)))
        for fold, own in zip(model.folds, ranked, strict=True)
    )
    return DistributionModel(model.section, folds)


def _has_truth(record: CaseRecord) -> bool:
    return record.kind in (Kind.LESION_BEARING, Kind.LESION_FREE)


def _counts(records: Sequence[CaseRecord], chosen: Sequence[CaseRecord], refused: int) -> Counts:
    roles = Counter(record.role for record in records)
    kinds = Counter(record.kind for record in chosen)
    return Counts(
        cases=len(records),
        fitted=roles[Role.FITTED],
        ranked=len(chosen),
        lesion_bearing=kinds[Kind.LESION_BEARING],
        lesion_free=kinds[Kind.LESION_FREE],
        unlabelled=kinds[Kind.UNLABELLED],
        outliers=roles[Role.OUTLIER],
        groups=len({record.group for record in chosen}),
        set_aside=roles[Role.RANKED] - len(chosen),
        refused=refused,
    )


def _judged_outliers(model: DistributionModel, records: Sequence[CaseRecord]) -> dict[str, Verdict]:
    """Several folds would need each one's features; the record holds the first's."""
    strange = [record for record in records if record.role is Role.OUTLIER]
    if len(model.folds) > 1:
        return {}
    return {record.name: judge(model, [record.observation]).verdict for record in strange}
