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
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


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

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (*self.images, *([self.reference] if self.reference else []))


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
        mask = None if case.reference is None else _read_mask(case.reference, description)
    except Refusal as refusal:
        return f"case {case.name} cannot be read: {refusal}"
    if len(image.data) != expected:
        found, names = (
            ", ".join(file.name for file in case.images),
            ", ".join(_channels(description).values()),
        )
        return (
            f"case {case.name} has {len(image.data)} channels ({found}), but the data set has {expected} "
            f"({names}); convert it, or leave it out"
        )
    if mask is None:
        return None
    return _shape_problem(case, image.data.shape, mask.shape) or find_label_problem(
        case, _values(mask), description
    )


def looks_right(case: Case, description: Mapping[str, Any]) -> bool:
    """Whether the headers of the files promise what ``find_problem`` would check by reading all of them."""
    found = [_header(file) for file in case.files]
    channels = sum(channels for _, channels in found[: len(case.images)])
    return len({size for size, _ in found}) == 1 and all(found[0]) and channels == len(_channels(description))


def _header(file: Path) -> tuple[tuple[int, ...], int]:
    """Size and channels of an image; nothing of both where it cannot be read in this way."""
    import SimpleITK  # noqa: PLC0415 - light to import without it

    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return (), 0
    return tuple(reader.GetSize()), int(reader.GetNumberOfComponents())


def _shape_problem(case: Case, image: tuple[int, ...], mask: tuple[int, ...]) -> str | None:
    if mask == (1, *image[1:]):
        return None
    return (
        f"the mask of case {case.name} has the shape {mask}, but its image {image} (channel, z, y, x); give "
        "it one channel and the image's shape (resampled with nearest neighbours), or leave the case out"
    )


def mask_values(case: Case, description: Mapping[str, Any]) -> tuple[float, ...]:
    """All values of a case's mask.

    Raises:
        StudyError: it cannot be read.
    """
    assert case.reference is not None, "only cases with a mask are asked for"
    try:
        return _values(_read_mask(case.reference, description))
    except Refusal as refusal:
        raise StudyError(f"case {case.name} cannot be read: {refusal}") from refusal


def _read_mask(file: Path, description: Mapping[str, Any]) -> NDArray[np.float32]:
    return read_image([file], reader=reader_of(file, reader_named(description))).data


def _values(mask: NDArray[np.float32]) -> tuple[float, ...]:
    """As ``numpy.unique`` gives them, which sorts; few small numbers need only be counted."""
    with np.errstate(invalid="ignore"):
        small = mask.astype(np.uint8)
    found = np.flatnonzero(np.bincount(small.ravel())) if (small == mask).all() else np.unique(mask)
    return tuple(map(float, found))


def find_label_problem(case: Case, values: Iterable[float], description: Mapping[str, Any]) -> str | None:
    """Say which values of a case's mask are no labels; None where all are."""
    declared = [value for one in description["labels"].values() for value in np.atleast_1d(one).tolist()]
    others = [value for value in values if value not in {0, *declared}]
    if not others:
        return None
    assert case.reference is not None, "it has values"
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
        raise StudyError(
            f"{images[0].name} has no reference: {reference} is missing; put it there, an empty mask where "
            "nothing is to be found, or take the image away"
        )
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
