"""The images that every trained network is judged on."""

from __future__ import annotations

import json
import os
import re
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.metrics.pairs import reader_of
from nnunet_losses.serve.schema import Reader

from .study import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping


_NEEDED = ("labels", "file_ending")


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
        StudyError: there is none, or it lacks what nnU-Net needs.
    """
    file = folder / "dataset.json"
    if not file.is_file():
        raise StudyError(f"{folder} is not a raw data set of nnU-Net: {file} is missing")
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise StudyError(f"{file} is not JSON ({error}); write it as nnU-Net's documentation says") from error
    known = content if isinstance(content, dict) else {}
    missing = [key for key in _NEEDED if not known.get(key)]
    missing += [] if _channels(known) else ["channel_names"]
    if missing:
        raise StudyError(f"{file} has no {', '.join(missing)}; write it as nnU-Net's documentation says")
    return content


def _channels(description: Mapping[str, Any]) -> dict[str, str]:
    """Names of the channels, under the key of now or that of nnU-Net's first version."""
    names: dict[str, str] = description.get("channel_names") or description.get("modality") or {}
    return names


def reader_named(description: Mapping[str, Any]) -> Reader | None:
    """The reader that ``dataset.json`` asks for, if it does."""
    wanted = description.get("overwrite_image_reader_writer")
    return Reader(wanted) if wanted in list(Reader) else None


def find_problem(case: Case, description: Mapping[str, Any]) -> str | None:
    """Say why nnU-Net could not use a case, and what to do; None where it can."""
    reader, expected = reader_named(description), len(_channels(description))
    try:
        image = read_image(case.images, reader=reader_of(case.images[0], reader))
    except Refusal as refusal:
        return f"case {case.name} cannot be read: {refusal}"
    wrong_labels = find_label_problem(case, description)
    if wrong_labels:
        return wrong_labels
    found = len(image.data)
    if found == expected:
        return None
    return (
        f"case {case.name} has {found} channels ({', '.join(file.name for file in case.images)}), but the "
        f"data set has {expected} ({', '.join(_channels(description).values())}); convert it, or leave it out"
    )


def find_label_problem(case: Case, description: Mapping[str, Any]) -> str | None:
    """Say which values a case's mask has that are no labels; None where there is none, or no mask."""
    if case.reference is None:
        return None
    try:
        mask = read_image([case.reference], reader=reader_of(case.reference, reader_named(description))).data
    except Refusal as refusal:
        return f"case {case.name} cannot be read: {refusal}"
    declared = [value for one in description["labels"].values() for value in np.atleast_1d(one).tolist()]
    others = np.unique(mask[~np.isin(mask, [0, *declared])])
    if not others.size:
        return None
    return (
        f"the mask of case {case.name} has the values {', '.join(f'{value:g}' for value in others[:5])}, but "
        f"dataset.json declares {sorted({0, *declared})}; mend {case.reference.name}, or declare the labels"
    )


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
        if not _is_newer(reference, case.images[0]):
            _write_empty(case.images[0], reference)
        made.append(case.model_copy(update={"reference": reference.resolve()}))
    return tuple(made)


def _is_newer(reference: Path, image: Path) -> bool:
    return reference.is_file() and reference.stat().st_mtime_ns > image.stat().st_mtime_ns


def _write_empty(image: Path, reference: Path) -> None:
    import SimpleITK  # noqa: PLC0415 - only this function needs it

    try:
        grid = SimpleITK.ReadImage(image)
    except RuntimeError as error:
        raise StudyError(f"{image} cannot be read; replace it, or leave it out") from error
    size = SimpleITK.GetArrayViewFromImage(grid).shape[: grid.GetDimension()]
    empty = SimpleITK.GetImageFromArray(np.zeros(size, np.uint8))
    empty.CopyInformation(grid)
    partial = reference.with_name(f".{os.getpid()}_{reference.name}")  # its ending chooses the format
    SimpleITK.WriteImage(empty, partial)
    partial.replace(reference)  # in one step: another command may read it
