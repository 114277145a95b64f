"""The images that every trained network is judged on."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from .study import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(StrEnum):
    """What a set is for.

    ``VALIDATION``: the fold's own, never trained on. ``TEST``: further cases with references. ``NEGATIVES``:
    images without anything to find. ``OOD``: images of another kind, without references.
    """

    VALIDATION = "validation"
    TEST = "test"
    NEGATIVES = "negatives"
    OOD = "ood"


class Case(BaseModel):
    """Files of one case: an image for each channel, and the reference where there is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    images: tuple[Path, ...]
    reference: Path | None = None


class ImageSet(BaseModel):
    """Cases with a role; ``fold``: of validation cases, the only one that they are for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    cases: tuple[Case, ...]
    fold: int | None = None


def read_description(folder: Path) -> dict[str, Any]:
    """Read ``dataset.json`` of a raw data set.

    Raises:
        StudyError: there is none.
    """
    file = folder / "dataset.json"
    if not file.is_file():
        raise StudyError(f"{folder} is not a raw data set of nnU-Net: {file} is missing")
    content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return content


def training_cases(raw: Path, description: Mapping[str, Any]) -> dict[str, Case]:
    """List the training cases of a raw data set by name."""
    listed = description.get("dataset")
    if listed:
        return {name: _listed(name, raw, files) for name, files in listed.items()}
    found = image_cases(raw / "imagesTr", description, raw / "labelsTr")
    return {case.name: case for case in found}


def _listed(name: str, raw: Path, files: Mapping[str, Any]) -> Case:
    """A case whose files ``dataset.json`` names; relative ones lie in the data set's folder."""
    images = tuple(raw / image for image in files["images"])
    return Case(name=name, images=images, reference=raw / files["label"])


def image_cases(images: Path, description: Mapping[str, Any], references: Path | None) -> tuple[Case, ...]:
    """List the cases of a folder of images named as nnU-Net wants them: ``CASE_0000.png``.

    Args:
        images: folder.
        description: the data set's ``dataset.json``; its ending counts.
        references: folder with ``CASE.png``; None where there are none.

    Raises:
        StudyError: no image, or a case without a reference.
    """
    ending = description["file_ending"]
    pattern = re.compile(rf"(.+)_(\d{{4}}){re.escape(ending)}")
    if not images.is_dir():
        raise StudyError(f"{images} is no folder; expected one with images such as CASE_0000{ending}")
    files: dict[str, list[Path]] = {}
    for file in sorted(images.iterdir()):
        match = pattern.fullmatch(file.name)
        if match:
            files.setdefault(match[1], []).append(file.resolve())
    if not files:
        raise StudyError(f"{images} holds no images such as CASE_0000{ending}, which nnU-Net expects")
    return tuple(_case(name, found, references, ending) for name, found in files.items())


def _case(name: str, images: list[Path], references: Path | None, ending: str) -> Case:
    reference = None if references is None else references / f"{name}{ending}"
    if reference is not None and not reference.is_file():
        raise StudyError(f"{images[0].name} has no reference: {reference} is missing")
    return Case(name=name, images=tuple(images), reference=reference and reference.resolve())


def labelled_set(folder: Path, description: Mapping[str, Any]) -> tuple[Case, ...]:
    """List the cases of a test set: imagesTs and labelsTs, or images and labels.

    Raises:
        StudyError: neither is there, or see ``image_cases``.
    """
    for images, labels in (("imagesTs", "labelsTs"), ("images", "labels")):
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return image_cases(folder / images, description, folder / labels)
    raise StudyError(f"{folder} holds neither imagesTs and labelsTs nor images and labels")


def empty_references(cases: tuple[Case, ...], target: Path, ending: str) -> tuple[Case, ...]:
    """Write an empty mask on the grid of each case's first image, for images with nothing to find."""
    target.mkdir(parents=True, exist_ok=True)
    made = []
    for case in cases:
        reference = target / f"{case.name}{ending}"
        _write_empty(case.images[0], reference)
        made.append(case.model_copy(update={"reference": reference.resolve()}))
    return tuple(made)


def _write_empty(image: Path, reference: Path) -> None:
    import SimpleITK  # noqa: PLC0415 - only this function needs it

    grid = SimpleITK.ReadImage(image)
    size = SimpleITK.GetArrayViewFromImage(grid).shape[: grid.GetDimension()]
    empty = SimpleITK.GetImageFromArray(np.zeros(size, np.uint8))
    empty.CopyInformation(grid)
    SimpleITK.WriteImage(empty, reference)
