"""Which prediction belongs to which reference, and what is in the two files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.formats import ENDINGS, read_image
from nnunet_losses.serve.formats.reading import displacement
from nnunet_losses.serve.schema import Reader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image

ALL_ENDINGS = tuple(dict.fromkeys(ending for endings in ENDINGS.values() for ending in endings))
PICTURE_ENDINGS = ENDINGS[Reader.NATURAL_IMAGE_2D]
HALF_A_VOXEL = 0.5  # nearer than this, resampling with nearest neighbours would change nothing
MOST_LABELS = 2**24  # single precision, in which files are read, tells all smaller whole numbers apart


@dataclass(frozen=True)
class Problem:
    """Why a case was not evaluated: a stable code, and a sentence with what to do."""

    case: str
    code: str
    detail: str


class NotComparableError(Exception):
    """Cases that cannot be evaluated.

    Attributes:
        problems: one for each of them.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        cases = ", ".join(problem.case for problem in problems[:5]) + (" ..." if len(problems) > 5 else "")
        super().__init__(f"{len(problems)} cases cannot be evaluated: {cases}")
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Pair:
    """The two files of a case."""

    case: str
    prediction: Path
    reference: Path


@dataclass(frozen=True, eq=False)
class Masks:
    """Two masks on one grid: integers (z, y, x), or (y, x) of a picture, and the spacing in that order."""

    prediction: NDArray[np.int64]
    reference: NDArray[np.int64]
    spacing: tuple[float, ...]


def find_pairs(predictions: Path, references: Path) -> tuple[list[Pair], list[Problem]]:
    """Match the mask files of two folders by name, without regard to the ending.

    Returns:
        Pairs by name, and a problem for each file without a partner.

    Raises:
        ValueError: for a folder without mask files, and for two files of one case.
    """
    predicted, referenced = _masks(predictions), _masks(references)
    pairs = [Pair(case, predicted[case], referenced[case]) for case in sorted(predicted.keys() & referenced)]
    missing = [
        Problem(
            case, "case.missing_prediction", f"There is {referenced[case].name}, but no prediction of it."
        )
        for case in sorted(referenced.keys() - predicted)
    ]
    extra = [
        Problem(
            case, "case.missing_reference", f"{predicted[case].name} was predicted, but has no reference."
        )
        for case in sorted(predicted.keys() - referenced)
    ]
    return pairs, missing + extra


def _masks(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        ending = next((one for one in ALL_ENDINGS if file.name.lower().endswith(one)), None)
        if ending is None or file.name.startswith(".") or not (file.is_file() or file.is_symlink()):
            continue  # a link to nowhere stays: reading it says so
        case = file.name[: -len(ending)]
        if case in found:
            raise ValueError(f"{folder} holds {found[case].name} and {file.name}; keep one of them")
        found[case] = file
    if not found:
        raise ValueError(f"{folder} holds no masks; expected are files that end in {', '.join(ALL_ENDINGS)}")
    return found


def reader_of(file: Path, wanted: Reader | None) -> Reader:
    """Reader of a file: the wanted one where it reads such files, else nnU-Net's default."""
    name = file.name.lower()
    if wanted is not None and name.endswith(ENDINGS[wanted]):
        return wanted
    return Reader.NATURAL_IMAGE_2D if name.endswith(PICTURE_ENDINGS) else Reader.SIMPLE_ITK


def read_pair(pair: Pair, reader: Reader | None = None) -> Masks | Problem:
    """Read both masks; a problem where one cannot be read, or they lie on different grids."""
    images = []
    for role, file in (("prediction", pair.prediction), ("reference", pair.reference)):
        try:
            image = read_image([file], reader=reader_of(file, reader))
        except Refusal as refusal:
            return Problem(pair.case, "case.unreadable", f"The {role} cannot be read: {refusal}")
        wrong = _not_a_mask(image)
        if wrong:
            return Problem(pair.case, "case.not_a_mask", f"The {role} {file.name} {wrong}")
        images.append(image)
    different = _difference(*images)
    if different:
        remedy = "Resample the prediction to the reference's grid, with nearest neighbours."
        return Problem(pair.case, "case.different_geometry", f"{different} {remedy}")
    return _masks_of(*images)


def _not_a_mask(image: Image) -> str | None:
    if image.data.shape[0] != 1:
        return f"has {image.data.shape[0]} values for each voxel; save one integer for each."
    if not bool(np.all(np.isfinite(image.data))):
        return "holds NaN or infinity; save a whole number for each voxel, 0 for background."
    if not bool(np.all(np.abs(image.data) < MOST_LABELS)):
        return f"holds numbers of {MOST_LABELS} and more; number the labels from 1."
    if not bool(np.all(image.data == np.rint(image.data))):
        return "holds numbers that are not whole; resample masks with nearest neighbours, and save integers."
    return None


def _difference(prediction: Image, reference: Image) -> str | None:
    axes = (prediction.geometry.dimension, reference.geometry.dimension)
    if axes[0] != axes[1]:
        return f"The prediction has {axes[0]} axes, the reference {axes[1]}."
    if prediction.shape != reference.shape:
        return f"The masks have {prediction.shape} and {reference.shape} voxels (z, y, x)."
    if not np.allclose(prediction.spacing, reference.spacing, rtol=1e-4):
        return f"The voxels are {prediction.spacing} and {reference.spacing} apart (z, y, x)."
    apart = displacement(prediction.geometry, reference.geometry, reference.shape)
    if round(apart, 4) >= HALF_A_VOXEL:
        return f"The masks lie up to {apart:.3g} voxels apart in space."
    return None


def _masks_of(prediction: Image, reference: Image) -> Masks:
    predicted, referenced = (image.data[0].astype(np.int64) for image in (prediction, reference))
    if reference.geometry.dimension == 2:
        return Masks(predicted[0], referenced[0], reference.spacing[1:])
    return Masks(predicted, referenced, reference.spacing)


def values_of(masks: Masks) -> set[int]:
    """All values that occur in either mask."""
    both: Any = np.union1d(np.unique(masks.prediction), np.unique(masks.reference))
    return {int(value) for value in both}
