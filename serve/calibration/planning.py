"""Which cases a calibration runs on, by which folds, and what each is for."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.formats import Incomplete, find_cases
from nnunet_losses.serve.safety.calibration import GuaranteeKind

from .contents import contents_sha256
from .errors import CalibrationError
from .records import Role

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.formats import Case
    from nnunet_losses.serve.schema import ModelDescription

ALL = "all"  # nnU-Net's name of the fold that was trained with every case
NNUNET_SPLITS = 5  # what nnU-Net does where there is no splits_final.json
NNUNET_SEED = 12345
APPROXIMATE = (
    "Every calibration case trained some of the bundle's folds: it was ranked by the one fold that has not "
    "seen it, and new cases are answered by all. The levels hold about, not exactly."
)

Splits = Sequence[Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Planned:
    """A case that is to be run.

    Attributes:
        case: name and files.
        role: what it is for.
        fold: by which fold of every member; None by the whole bundle.
        group: what makes cases belong together.
        label: its reference; None without one.
        is_negative: known to bear nothing, without a reference.
    """

    case: Case
    role: Role
    fold: str | None
    group: str
    label: Path | None = None
    is_negative: bool = False


@dataclass(frozen=True)
class Sources:
    """Where cases come from.

    Attributes:
        raw: nnU-Net's raw data set that the model was trained with: ``imagesTr``, ``labelsTr``.
        splits: which of its cases trained which fold; None where ``held_out`` is given.
        held_out: folder of cases that trained no fold: images, or ``images…`` and ``labels…`` folders in it.
        negatives: folder of images without anything to find, that trained no fold.
        outliers: folder of images that should be called strange.
        groups: group of each case, by name.
    """

    raw: Path
    splits: Splits | None = None
    held_out: Path | None = None
    negatives: Path | None = None
    outliers: Path | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All cases, and what can be promised with them.

    Attributes:
        cases: to run.
        folds: names of the folds whose cases are ranked; ``[None]`` where the whole bundle ranks all.
        guarantee: what the levels will promise.
        remark: why no more.
    """

    cases: tuple[Planned, ...]
    folds: tuple[str | None, ...]
    guarantee: GuaranteeKind = GuaranteeKind.CONFORMAL
    remark: str | None = None


def make_plan(description: ModelDescription, sources: Sources) -> Plan:
    """Choose the cases of a calibration.

    A case that trained a network is never ranked by it.

    Raises:
        CalibrationError: where no case is new to the networks, or the files do not fit each other.
        Refusal: for folders that cannot be read.
    """
    training = _cases(_images_of(sources.raw, "imagesTr"), description)
    plan = _plan(description, sources, training)
    _check_names(training, plan)
    _check_groups(sources.groups, {*training, *(planned.case.name for planned in plan.cases)})
    return plan


def _plan(description: ModelDescription, sources: Sources, training: Mapping[str, Case]) -> Plan:
    labels = _labels_of(sources.raw / "labelsTr", description)
    others = (*_negatives(description, sources), *_outliers(description, sources))
    if sources.held_out is not None:
        fitted = _planned(training, labels, Role.FITTED, None, sources)
        held_out = _held_out(description, sources, sources.held_out)
        return Plan((*fitted, *held_out, *others), (None,))
    folds = _common_folds(description)
    if sources.splits is None:
        raise CalibrationError("Name the cases that are new to the model: --splits, or --held-out.")
    parts = [_fold_cases(fold, sources.splits, training, labels, sources) for fold in folds]
    if len(folds) == 1 and _is_single(description):
        whole = tuple(_by_bundle(planned) for planned in parts[0])
        return Plan((*whole, *others), (None,))
    by_fold = [planned for part in parts for planned in part]
    return Plan((*by_fold, *others), folds, GuaranteeKind.APPROXIMATE, APPROXIMATE)


def read_splits(path: Path) -> Splits:
    """Read nnU-Net's ``splits_final.json``.

    Raises:
        CalibrationError: for something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [{"train": [*map(str, fold["train"])], "val": [*map(str, fold["val"])]} for fold in content]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CalibrationError(
            f"{path.name} is no splits_final.json: {error}. nnU-Net writes it into the preprocessed data "
            "set's folder; --splits default takes what it does without one."
        ) from error


def default_splits(names: Sequence[str]) -> Splits:
    """Split as nnU-Net does where there is no ``splits_final.json``: five folds, shuffled with a fixed seed.

    Example:
        >>> [fold["val"] for fold in default_splits([f"case_{index}" for index in range(5)])]
        [['case_0'], ['case_4'], ['case_3'], ['case_1'], ['case_2']]
    """
    ordered = sorted(names)
    if len(ordered) < NNUNET_SPLITS:
        raise CalibrationError(f"{len(ordered)} cases are too few for nnU-Net's {NNUNET_SPLITS} folds.")
    order = np.arange(len(ordered))
    np.random.RandomState(NNUNET_SEED).shuffle(order)
    parts = np.array_split(order, NNUNET_SPLITS)
    held = [set(part.tolist()) for part in parts]
    return [
        {
            "train": [name for index, name in enumerate(ordered) if index not in own],
            "val": [name for index, name in enumerate(ordered) if index in own],
        }
        for own in held
    ]


def training_names(raw: Path, description: ModelDescription) -> list[str]:
    """Names of the cases of ``imagesTr``.

    Raises:
        CalibrationError: there is none.
        Refusal: for a folder without images.
    """
    return list(_cases(_images_of(raw, "imagesTr"), description))


def read_groups(path: Path) -> dict[str, str]:
    """Read a table with the columns ``case`` and ``group``.

    Raises:
        CalibrationError: for a table without them, or a case that is listed twice or without a group.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path.name} cannot be read: {error}.") from error
    if not rows or not {"case", "group"} <= rows[0].keys():
        raise CalibrationError(f"{path.name} lacks the columns case and group, in its first line.")
    names = [row["case"] for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CalibrationError(f"{path.name} lists {twice[0]} twice; give each case one group.")
    without = next((row["case"] for row in rows if not (row["group"] or "").strip()), None)
    if without is not None:
        raise CalibrationError(
            f"{path.name} gives {without} no group; leave its line out where nothing is known of it."
        )
    return {row["case"]: row["group"] for row in rows}


def _check_names(training: Mapping[str, Case], plan: Plan) -> None:
    """Two images of one name would be taken for two of one patient."""
    for planned in plan.cases:
        known = training.get(planned.case.name)
        if planned.role is not Role.RANKED or known is None:
            continue
        is_same = known.files == planned.case.files or _contents(known) == _contents(planned.case)
        if planned.is_negative or not is_same:
            raise CalibrationError(
                f"The case {planned.case.name} of {planned.case.files[0].parent.name} has the name of a case "
                "of imagesTr. A new case needs a name of its own: rename it; a training case is not new."
            )


def _contents(case: Case) -> list[str]:
    return [contents_sha256(file) for file in case.files]


def _check_groups(groups: Mapping[str, str], names: AbstractSet[str]) -> None:
    unknown = sorted(groups.keys() - names)
    if unknown:
        raise CalibrationError(
            f"The groups name {unknown[0]}, which is none of the {len(names)} cases ({len(unknown)} are "
            f"unknown). Write each case as it is called here, such as {min(names)}."
        )


def _is_single(description: ModelDescription) -> bool:
    return all(len(member.folds) == 1 for member in description.members)


def _common_folds(description: ModelDescription) -> tuple[str, ...]:
    """Folds that all members have, so that one network of each has not seen the fold's own cases."""
    names = [[fold.name for fold in member.folds] for member in description.members]
    if any(ALL in folds for folds in names):
        raise CalibrationError(
            "The bundle has a fold that was trained with all cases (fold_all): none of the data set is new "
            "to it. Give cases that it has not seen: --held-out DIR."
        )
    common = tuple(name for name in names[0] if all(name in folds for folds in names))
    if not common:
        raise CalibrationError(
            "The bundle's members have no fold in common: every case trained one of them. Give cases that "
            "none has seen: --held-out DIR."
        )
    return common


def _fold_cases(
    fold: str, splits: Splits, training: Mapping[str, Case], labels: Mapping[str, Path], sources: Sources
) -> list[Planned]:
    if not fold.isdecimal() or int(fold) >= len(splits):
        raise CalibrationError(f"The splits have {len(splits)} folds; the bundle has the fold {fold}.")
    split = splits[int(fold)]
    missing = sorted({*split["train"], *split["val"]} - training.keys())
    if missing:
        raise CalibrationError(
            f"The splits name {missing[0]}, which is not among the {len(training)} cases of imagesTr "
            f"({len(missing)} are missing). Give the data set that the model was trained with."
        )
    overlap = sorted({*split["train"]} & {*split["val"]})
    if overlap:
        raise CalibrationError(
            f"The splits name {overlap[0]} for training and for validation of fold {fold}."
        )
    if not split["val"]:
        raise CalibrationError(f"Fold {fold} has no validation cases. Give new ones: --held-out DIR.")
    fitted = {name: training[name] for name in split["train"]}
    ranked = {name: training[name] for name in split["val"]}
    return [
        *_planned(fitted, labels, Role.FITTED, fold, sources),
        *_planned(ranked, labels, Role.RANKED, fold, sources),
    ]


def _by_bundle(planned: Planned) -> Planned:
    return Planned(planned.case, planned.role, None, planned.group, planned.label, planned.is_negative)


def _held_out(description: ModelDescription, sources: Sources, folder: Path) -> list[Planned]:
    inside = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()] if folder.is_dir() else []
    images = next((entry for entry in inside if entry.name.startswith("images")), folder)
    labels = next((entry for entry in inside if entry.name.startswith("labels")), None)
    references = {} if labels is None else _labels_of(labels, description)
    return _planned(_cases(images, description), references, Role.RANKED, None, sources)


def _negatives(description: ModelDescription, sources: Sources) -> list[Planned]:
    if sources.negatives is None:
        return []
    cases = _cases(sources.negatives, description)
    by_bundle = sources.held_out is not None or _is_single(description)
    fold = None if by_bundle else _common_folds(description)[0]
    return [
        Planned(case, Role.RANKED, fold, sources.groups.get(name, name), is_negative=True)
        for name, case in cases.items()
    ]


def _outliers(description: ModelDescription, sources: Sources) -> list[Planned]:
    if sources.outliers is None:
        return []
    return _planned(_cases(sources.outliers, description), {}, Role.OUTLIER, None, sources)


def _planned(
    cases: Mapping[str, Case], labels: Mapping[str, Path], role: Role, fold: str | None, sources: Sources
) -> list[Planned]:
    groups = sources.groups
    return [
        Planned(case, role, fold, groups.get(name, name), labels.get(name)) for name, case in cases.items()
    ]


def _images_of(raw: Path, name: str) -> Path:
    folder = raw / name
    if not folder.is_dir():
        raise CalibrationError(
            f"{raw} has no folder {name}. Give nnU-Net's raw data set: the folder DatasetNNN_Name."
        )
    return folder


def _cases(folder: Path, description: ModelDescription) -> dict[str, Case]:
    if not folder.is_dir():
        raise CalibrationError(f"{folder} is no folder.")
    cases: dict[str, Case] = {}
    for case in find_cases([folder], description):
        if isinstance(case, Incomplete):
            raise CalibrationError(f"{folder.name}: {case.refusal}")
        cases[case.name] = case
    return cases


def _labels_of(folder: Path, description: ModelDescription) -> dict[str, Path]:
    """References by case; of a folder that is not there, none."""
    ending = description.file_ending
    files: list[Any] = sorted(folder.glob(f"*{ending}")) if folder.is_dir() else []
    return {file.name.removesuffix(ending): file for file in files}
