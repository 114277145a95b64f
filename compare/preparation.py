"""Everything that is made once before the cells: plans, preprocessed data, splits, lists of images."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nnunet_losses.trainers.files import write_atomically

from .data_check import write_files
from .folders import NnunetFolders
from .inspection import begun_folds, inspect_files, is_judged, values_by_case
from .labels_check import absent_notes, check_any_label, check_declared
from .made_of import check_description, check_made_of
from .preprocessing import Training, configuration, preprocess
from .recipe import LATE, check_recipe, write_recipe
from .reduced_plans import Reduction, write_reduced_plans
from .results import RESULT_FILE
from .sets import (
    Case,
    ImageSet,
    Role,
    empty_references,
    image_cases,
    labelled_set,
    read_description,
    training_cases,
)
from .splits import PARTS, SPLITS, Splits, check_folds, check_number, make_splits, overlap_notes
from .study import PREPARED_FILE, Settings, StudyError, some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


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
        notes: on the data, for whoever reads the figures.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: NnunetFolders
    plans: str
    sets: tuple[ImageSet, ...]
    notes: tuple[str, ...] = ()

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
    if link.is_symlink() and link.resolve() != folder and not folders.preprocessed.exists():
        link.unlink()  # of a command that was refused before anything was made of its data
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
    raw, preprocessed = (
        folder / source.dataset for folder in (source.folders.raw, source.folders.preprocessed)
    )
    description = read_description(raw)
    check_declared(raw / "dataset.json", description)
    data = Training(source.folders, description, training_cases(raw, description))
    check_number(data.cases, folds, preprocessed, raw)
    begun = begun_folds(output)
    check_recipe(preprocessed, settings, begun, output)
    further = tuple(_further(source, description, output))
    files = inspect_files(data, further, output)
    values = values_by_case(data, files)
    check_any_label(source.dataset, description, values)
    identifier = preprocess(data, settings, output, files.training)
    write_files(output, files)  # not before: changed data is preprocessed again, also after a kill
    check_description(description, preprocessed)
    doubt = check_made_of(preprocessed / identifier, data.cases, files.training)
    splits = make_splits(preprocessed / SPLITS, data.cases)
    check_recipe(preprocessed, settings, begun, output)  # again: a file that was missing is there now
    recipe = write_recipe(preprocessed, settings, splits, output, begun=bool(begun))
    plans = _plans(preprocessed, settings)
    sets = (*_validation(splits, folds, data.cases), *further)
    _check_sets(sets, output)
    notes = (doubt, LATE if recipe.late else "", *absent_notes(description, values, splits, folds),
             *overlap_notes(splits, folds))  # fmt: skip
    prepared = Prepared(folders=source.folders, plans=plans, sets=sets, notes=tuple(filter(None, notes)))
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


def _check_sets(sets: tuple[ImageSet, ...], output: Path) -> None:
    """Refuse other images than those that cells of the same folder were judged on.

    Raises:
        StudyError: with the set's role.
    """
    earlier = _earlier_sets(output)
    if earlier is None or not is_judged(output):
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


def _validation(splits: Splits, folds: tuple[int, ...], cases: Mapping[str, Case]) -> Iterator[ImageSet]:
    check_folds(folds, splits)
    for fold in folds:
        unknown = [name for part in PARTS for name in splits[fold][part] if name not in cases]
        if unknown:
            raise StudyError(
                f"{SPLITS} has {some(unknown)} in fold {fold}, which the raw data set lacks; "
                "put the images back, or write other splits"
            )
        empty = [part for part in PARTS if not splits[fold][part]]
        if empty:
            raise StudyError(
                f"fold {fold} of {SPLITS} has no case in {' and '.join(empty)}; write some, or leave it out"
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
