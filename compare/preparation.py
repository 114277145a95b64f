"""Everything that is made once before the cells: plans, preprocessed data, splits, lists of images."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nnunet_losses.trainers.files import write_atomically

from .data_check import Files, differences, read_files, stamp_files, write_files
from .folders import NnunetFolders
from .preprocessing import Training, configuration, forget, preprocess
from .reduced_plans import Reduction, write_reduced_plans
from .results import RESULT_FILE
from .sets import (
    Case,
    ImageSet,
    Role,
    empty_references,
    find_label_problem,
    find_problem,
    image_cases,
    labelled_set,
    read_description,
    training_cases,
)
from .study import PREPARED_FILE, Settings, StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SPLITS = "splits_final.json"
_FOLDS = 5


@dataclass(frozen=True)
class Source:
    """Where the data comes from: nnU-Net's folders, the data set's name there, and further images."""

    folders: NnunetFolders
    dataset: str
    test: Path | None = None
    negatives: Path | None = None
    ood: Path | None = None


class Prepared(BaseModel):
    """What ``prepare`` made; every cell reads it.

    Attributes:
        folders: of nnU-Net.
        plans: name of the plans that are trained.
        sets: of images to judge on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: NnunetFolders
    plans: str
    sets: tuple[ImageSet, ...]

    def sets_of(self, fold: int) -> Iterator[ImageSet]:
        """List the sets that networks of a fold are judged on."""
        return (one for one in self.sets if one.fold in (None, fold))


def find_source(dataset: str, output: Path) -> tuple[NnunetFolders, str]:
    """Find a data set: a folder with ``dataset.json``, or nnU-Net's number or name of one in ``nnUNet_raw``.

    A folder is linked into folders of nnU-Net inside of the output.

    Raises:
        StudyError: there is no such data set.
    """
    folder = Path(dataset)
    if (folder / "dataset.json").is_file():
        return _linked(folder.resolve(), output)
    folders = NnunetFolders.of_environment()
    if folders is None:
        raise StudyError(
            f"{dataset!r} is no folder with dataset.json; give one, or set nnUNet_raw and "
            "nnUNet_preprocessed to where a data set of that number or name is"
        )
    number = f"Dataset{int(dataset):03d}_" if dataset.isdecimal() else None
    names = sorted(path.name for path in folders.raw.glob("Dataset*") if path.is_dir())
    matching = [name for name in names if (name.startswith(number) if number else name == dataset)]
    if len(matching) != 1:
        found, known = ", ".join(matching) or "no data set", ", ".join(names) or "none"
        raise StudyError(
            f"nnUNet_raw ({folders.raw}) holds {found} for {dataset!r}; of data sets it has {known}"
        )
    return folders, matching[0]


def _linked(folder: Path, output: Path) -> tuple[NnunetFolders, str]:
    folders = NnunetFolders.inside(output)
    named = re.fullmatch(r"Dataset\d{3}_.+", folder.name)
    name = folder.name if named else f"Dataset001_{re.sub(r'[^A-Za-z0-9]', '', folder.name) or 'Data'}"
    folders.raw.mkdir(parents=True, exist_ok=True)
    link = folders.raw / name
    if link.is_symlink() and link.resolve() != folder:
        raise StudyError(f"{output} holds a comparison on {link.resolve()}; take another folder for {folder}")
    if not link.exists():
        link.symlink_to(folder, target_is_directory=True)
    return folders, name


def prepare(source: Source, settings: Settings, folds: tuple[int, ...], output: Path) -> Prepared:
    """Plan, preprocess, split and list, unless that is done.

    Raises:
        StudyError: for data that cannot be compared on; the message says what is missing.
    """
    raw = source.folders.raw / source.dataset
    description = read_description(raw)
    data = Training(source.folders, description, training_cases(raw, description))
    _check_number(data, folds, source.folders.preprocessed / source.dataset / SPLITS)
    further = tuple(_further(source, description, output))
    files = _checked_files(data, further, output)
    preprocess(data, settings, output)
    write_files(output, files)  # not before: changed data is preprocessed again, also after a kill
    preprocessed = source.folders.preprocessed / source.dataset
    plans = _plans(preprocessed, settings)
    splits = _splits(preprocessed, settings, plans)
    sets = (*_validation(splits, folds, data.cases), *further)
    _check_sets(sets, output)
    prepared = Prepared(folders=source.folders, plans=plans, sets=sets)
    write_atomically(output / PREPARED_FILE, prepared.model_dump_json(indent=1) + "\n")
    return prepared


def read_prepared(output: Path) -> Prepared:
    """Read what ``prepare`` wrote.

    Raises:
        StudyError: it has not run, or the file is damaged.
    """
    try:
        return Prepared.model_validate_json((output / PREPARED_FILE).read_bytes())
    except (FileNotFoundError, ValidationError) as error:
        raise StudyError(
            f"{output / PREPARED_FILE} is missing or damaged; nnunet-losses compare writes it again"
        ) from error


def _check_number(data: Training, folds: tuple[int, ...], splits: Path) -> None:
    """Before anything takes long: nnU-Net's own splits have five parts, the user's as many as they have."""
    if splits.is_file() or (data.folders.raw / splits.parent.name / SPLITS).is_file():
        return
    if len(data.cases) < _FOLDS:
        raise StudyError(
            f"{len(data.cases)} training cases cannot be split in five as nnU-Net does; write {splits}"
        )
    if max(folds) >= _FOLDS:
        raise StudyError(_no_fold(max(folds), _FOLDS))


def _no_fold(fold: int, number: int) -> str:
    return f"there is no fold {fold}: {SPLITS} has {number}, counted from 0"


def _checked_files(data: Training, further: tuple[ImageSet, ...], output: Path) -> Files:
    """Stamp all files; refuse those that are others than what cells have seen, and those of no use.

    Raises:
        StudyError: it names the files.
    """
    before = read_files(output)
    cases = [case for images in further for case in images.cases]
    now = stamp_files(_files(data.cases.values()), _files(cases), before)
    if before is not None:
        changed = differences(before.training, now.training)
        if changed:
            begun = any((output / "cells").glob("*/nnunet"))
            _refuse_if(begun, "learnt from", changed, shared=_shared(data, output))
            _check_listed(data.cases, output)
            forget(output)
        common = before.judging.keys() & now.judging
        changed = differences(*({file: files.judging[file] for file in common} for files in (before, now)))
        _refuse_if(changed and _is_judged(output), "were judged on", changed)
    _check_new(data, cases, before, now)
    known = before.judging if before else {}
    return Files(training=now.training, judging={**known, **now.judging})  # a set may be left out once


def _check_new(data: Training, cases: Iterable[Case], before: Files | None, now: Files) -> None:
    """Look into files that no run before has seen; of training images nnU-Net itself will complain."""
    known = {**before.training, **before.judging} if before else {}
    stamps = {**now.training, **now.judging}
    for case in data.cases.values():
        if case.reference is not None and known.get(case.reference) != stamps[case.reference]:
            _refuse_problem(find_label_problem(case, data.description), case)
    for case in cases:
        if any(known.get(file) != stamps[file] for file in _files([case])):
            _refuse_problem(find_problem(case, data.description), case)


def _files(cases: Iterable[Case]) -> Iterator[Path]:
    for case in cases:
        yield from (*case.images, *([case.reference] if case.reference else []))


def _refuse_problem(problem: str | None, case: Case) -> None:
    """Before anything is trained: else it would fail every cell, or none, and be learnt from."""
    if problem:
        raise StudyError(f"{case.images[0].parent}: {problem}")


def _refuse_if(condition: object, verb: str, changed: list[str], shared: str = "") -> None:
    if condition:
        named = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise StudyError(
            f"the output folder's trainings {verb} other data ({named}); restore it, or take another "
            f"folder{shared}"
        )


def _shared(data: Training, output: Path) -> str:
    """What to do about preprocessed data that another output folder would use, too."""
    if data.folders == NnunetFolders.inside(output):
        return ""
    return f", and move the data set away from {data.folders.preprocessed}: it was made of the old data"


def _check_listed(cases: Mapping[str, Case], output: Path) -> None:
    """Splits that were made here for other cases would leave new ones out, and look for old ones."""
    for file in NnunetFolders.inside(output).preprocessed.glob(f"*/{SPLITS}"):
        listed = {name for split in _read_splits(file) for part in ("train", "val") for name in split[part]}
        if listed != set(cases):
            differing = ", ".join(sorted(listed ^ set(cases))[:5])
            raise StudyError(
                f"{file} was made for other cases than there are now ({differing}); delete it, and it is "
                "made anew, or write your own"
            )


def _is_judged(output: Path) -> bool:
    """Whether any cell is done. What an unfinished one has predicted is checked by itself."""
    return any((output / "cells").glob(f"*/{RESULT_FILE}"))


def _check_sets(sets: tuple[ImageSet, ...], output: Path) -> None:
    """Refuse other images than those that cells of the same folder were judged on.

    Raises:
        StudyError: with the set's role.
    """
    earlier = _earlier_sets(output)
    if earlier is None or not _is_judged(output):
        return
    before, now = _images(earlier), _images(sets)
    common = {key for key in before.keys() | now.keys() if key[1] is None} | (before.keys() & now.keys())
    changed = sorted(role.value for role, fold in common if before.get((role, fold)) != now.get((role, fold)))
    if changed:
        raise StudyError(
            f"the output folder holds cells that were judged on other images ({', '.join(changed)}); take "
            f"another folder, or the same images; where all {RESULT_FILE} in its cells are deleted, their "
            "trainings are kept and judged anew"
        )


def _earlier_sets(output: Path) -> tuple[ImageSet, ...] | None:
    """Those of the run before; None without one, or where its file is damaged and is written again."""
    try:
        return read_prepared(output).sets
    except StudyError:
        return None


def _images(sets: tuple[ImageSet, ...]) -> dict[tuple[Role, int | None], list[tuple[Path, ...]]]:
    return {(one.role, one.fold): [case.images for case in one.cases] for one in sets}


def _plans(preprocessed: Path, settings: Settings) -> str:
    """Write smaller plans where they are wanted; return the name of those to train with."""
    network = settings.network
    if network.is_planned:
        return settings.plans
    planned = configuration(preprocessed / f"{settings.plans}.json", settings.configuration)
    stages = tuple(planned["architecture"]["arch_kwargs"]["features_per_stage"])
    features = network.features or stages
    if len(features) > len(stages):
        raise StudyError(
            f"{len(features)} features are given, {list(features)}, but the planned network has "
            f"{len(stages)} stages; give at most as many"
        )
    if network.patch and len(network.patch) != len(planned["patch_size"]):
        raise StudyError(
            f"the patch is {list(network.patch)}, but that of {settings.configuration} has "
            f"{len(planned['patch_size'])} axes; give as many numbers, at most {planned['patch_size']}"
        )
    size = "_".join(
        map(str, (*features, "c", network.convolutions, "p", *(network.patch or ()), "b", network.batch or 0))
    )
    name = f"nnUNetCompare_{size}"
    reduction = Reduction(features, network.convolutions, network.patch, network.batch)
    try:
        write_reduced_plans(preprocessed, reduction, name=name, source=settings.plans)
    except ValueError as error:
        raise StudyError(str(error)) from error
    return name


def _splits(preprocessed: Path, settings: Settings, plans: str) -> list[dict[str, list[str]]]:
    """nnU-Net's splits, made now: trainings that begin together would all write the file."""
    file = preprocessed / SPLITS
    if not file.is_file():
        from nnunetv2.utilities.crossval_split import generate_crossval_split  # noqa: PLC0415 - heavy

        identifier = configuration(preprocessed / f"{plans}.json", settings.configuration)["data_identifier"]
        names = sorted(path.stem for path in (preprocessed / identifier).glob("*.pkl"))
        splits = generate_crossval_split(names, seed=12345, n_splits=_FOLDS)
        plain = [{part: [str(name) for name in split[part]] for part in ("train", "val")} for split in splits]
        write_atomically(file, json.dumps(plain, indent=4))
    return _read_splits(file)


def _read_splits(file: Path) -> list[dict[str, list[str]]]:
    try:
        found: list[dict[str, list[str]]] = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise StudyError(f"{file} is damaged ({error}); restore it, or delete it") from error
    return found


def _validation(
    splits: list[dict[str, list[str]]], folds: tuple[int, ...], cases: Mapping[str, Case]
) -> Iterator[ImageSet]:
    for fold in folds:
        if fold >= len(splits):
            raise StudyError(_no_fold(fold, len(splits)))
        unknown = [name for part in ("train", "val") for name in splits[fold][part] if name not in cases]
        if unknown:
            raise StudyError(
                f"{SPLITS} has {', '.join(unknown[:5])} in fold {fold}, which the raw data set lacks; "
                "put the images back, or write other splits"
            )
        chosen = tuple(cases[name] for name in splits[fold]["val"])
        yield ImageSet(role=Role.VALIDATION, cases=chosen, fold=fold)


def _further(source: Source, description: dict[str, Any], output: Path) -> Iterator[ImageSet]:
    raw = source.folders.raw / source.dataset
    test = source.test or (raw if (raw / "imagesTs").is_dir() and (raw / "labelsTs").is_dir() else None)
    if test is not None:
        yield ImageSet(role=Role.TEST, cases=labelled_set(test, description))
    if source.negatives is not None:
        free = image_cases(source.negatives, description, None)
        free = empty_references(free, output / "empty_references", description["file_ending"])
        yield ImageSet(role=Role.NEGATIVES, cases=free)
    if source.ood is not None:
        yield ImageSet(role=Role.OOD, cases=image_cases(source.ood, description, None))
