"""Everything that is made once before the cells: plans, preprocessed data, splits, lists of images."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nnunet_losses.trainers.files import write_atomically

from .folders import NnunetFolders
from .reduced_plans import Reduction, write_reduced_plans
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
from .study import PREPARED_FILE, Settings, StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator

SPLITS = "splits_final.json"
_PLAN = (
    "from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import *; plan_and_preprocess_entry()"
)


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
            f"{dataset!r} is no folder with dataset.json, and nnUNet_raw and nnUNet_preprocessed are not "
            "set, where a data set of that number or name could be"
        )
    number = f"Dataset{int(dataset):03d}_" if dataset.isdecimal() else None
    names = sorted(path.name for path in folders.raw.glob("Dataset*") if path.is_dir())
    matching = [name for name in names if (name.startswith(number) if number else name == dataset)]
    if len(matching) != 1:
        raise StudyError(f"nnUNet_raw holds {matching or 'no data set'} for {dataset!r}; it has {names}")
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
    preprocessed = source.folders.preprocessed / source.dataset
    _preprocess(source, settings, len(training_cases(raw, description)), output)
    plans = _plans(preprocessed, settings)
    splits = _splits(preprocessed, settings, plans)
    sets = (
        *_validation(splits, folds, training_cases(raw, description)),
        *_further(source, description, output),
    )
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
        raise StudyError(f"{output} was not prepared, or not wholly: {error}") from error


def _check_sets(sets: tuple[ImageSet, ...], output: Path) -> None:
    """Refuse other images than those that cells of the same folder were judged on.

    Raises:
        StudyError: with the set's role.
    """
    if not (output / PREPARED_FILE).is_file() or not any((output / "cells").glob("*/masks/*")):
        return
    before, now = (_images(found) for found in (read_prepared(output).sets, sets))
    common = {key for key in before.keys() | now.keys() if key[1] is None} | (before.keys() & now.keys())
    changed = sorted(role.value for role, fold in common if before.get((role, fold)) != now.get((role, fold)))
    if changed:
        raise StudyError(
            f"the output folder holds cells that were judged on other images ({', '.join(changed)}); take "
            "another folder, or the same images"
        )


def _images(sets: tuple[ImageSet, ...]) -> dict[tuple[Role, int | None], list[tuple[Path, ...]]]:
    return {(one.role, one.fold): [case.images for case in one.cases] for one in sets}


def _preprocess(source: Source, settings: Settings, cases: int, output: Path) -> None:
    """Run nnU-Net's own command unless all cases are there; half a preprocessing is done again."""
    folder = source.folders.preprocessed / source.dataset
    done = output / "preprocessed.done"
    if done.is_file() or _is_complete(folder, settings, cases):
        return
    if settings.plans != "nnUNetPlans":
        raise StudyError(
            f"{folder} has no data preprocessed with {settings.plans}; run nnUNetv2_plan_and_preprocess"
        )
    number = str(int(source.dataset[len("Dataset") :][:3]))
    command = [
        sys.executable,
        "-c",
        _PLAN,
        "-d",
        number,
        "-c",
        settings.configuration,
        "-npfp",
        "1",
        "-np",
        "1",
    ]
    environment = {**source.folders.environment(output / "nnunet" / "results"), "nnUNet_n_proc_DA": "1"}
    log = output / "preprocessing.log"
    with log.open("w") as file:
        result = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False)  # noqa: S603 - our own command
    if result.returncode or not _is_complete(folder, settings, cases):
        last = log.read_text("utf-8", errors="replace").strip().splitlines()[-1:]
        raise StudyError(f"nnU-Net could not preprocess {source.dataset} ({' '.join(last)}); see {log}")
    write_atomically(done, "")


def _is_complete(folder: Path, settings: Settings, cases: int) -> bool:
    plans = folder / f"{settings.plans}.json"
    if not plans.is_file():
        return False
    identifier = _configuration(plans, settings.configuration)["data_identifier"]
    return len(list((folder / identifier).glob("*.pkl"))) >= cases


def _configuration(plans: Path, name: str) -> dict[str, Any]:
    """One configuration of plans, with what it inherits."""
    every = json.loads(plans.read_text("utf-8"))["configurations"]
    if name not in every:
        raise StudyError(f"{plans} has no configuration {name!r}; it has {', '.join(every)}")
    own: dict[str, Any] = every[name]
    parent = own.get("inherits_from")
    return {**_configuration(plans, parent), **own} if parent else own


def _plans(preprocessed: Path, settings: Settings) -> str:
    """Write smaller plans where they are wanted; return the name of those to train with."""
    network = settings.network
    if network.is_planned:
        return settings.plans
    planned = _configuration(preprocessed / f"{settings.plans}.json", settings.configuration)
    features = network.features or tuple(planned["architecture"]["arch_kwargs"]["features_per_stage"])
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

        identifier = _configuration(preprocessed / f"{plans}.json", settings.configuration)["data_identifier"]
        names = sorted(path.stem for path in (preprocessed / identifier).glob("*.pkl"))
        if len(names) < 5:
            raise StudyError(
                f"{len(names)} training cases cannot be split in five as nnU-Net does; write {file}"
            )
        splits = generate_crossval_split(names, seed=12345, n_splits=5)
        plain = [{part: [str(name) for name in split[part]] for part in ("train", "val")} for split in splits]
        write_atomically(file, json.dumps(plain, indent=4))
    found: list[dict[str, list[str]]] = json.loads(file.read_text("utf-8"))
    return found


def _validation(
    splits: list[dict[str, list[str]]], folds: tuple[int, ...], cases: dict[str, Case]
) -> Iterator[ImageSet]:
    for fold in folds:
        if fold >= len(splits):
            raise StudyError(f"there is no fold {fold}: {SPLITS} has {len(splits)}, counted from 0")
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
