"""Writes phantoms as a complete nnU-Net raw data set."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .phantom_drawing import INTENSITY_UNIT, make_case
from .phantom_settings import Case, Phantom

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_WHITE = 1.5 * INTENSITY_UNIT  # what becomes 255 in a picture
_LABELS: dict[str, dict[str, Any]] = {
    "organ_lesion": {"labels": {"background": 0, "organ": 1, "lesion": 2}},
    "lesion": {"labels": {"background": 0, "lesion": 1}},
    "regions": {
        "labels": {"background": 0, "whole organ": [1, 2], "lesion": 2},
        "regions_class_order": [1, 2],
    },
}
_DESCRIPTION = "Procedural images drawn by nnunet-losses phantom; no patient is in them."
_SPLITS = {"Tr": ("case", 0), "Ts": ("test", 1)}  # folder ending: prefix of the names, number in the seeds


def case_seed(seed: int, *, split: int, index: int) -> int:
    """Return the seed of one case of a data set; it depends on no other case.

    Args:
        seed: of the data set, not negative.
        split: 0 for training, 1 for test; further numbers for further sets.
        index: of the case in its split.

    Example:
        >>> case_seed(0, split=0, index=3) == case_seed(0, split=1, index=3)
        False
    """
    if min(seed, split, index) < 0:
        raise ValueError(f"Seed, split and index are not negative, got {(seed, split, index)}.")
    state = np.random.SeedSequence(seed, spawn_key=(split, index)).generate_state(2, np.uint32)
    return int(state[0]) << 32 | int(state[1])


def lesion_free_cases(count: int, share: float, *, seed: int) -> frozenset[int]:
    """Choose which of ``count`` cases have no lesion: exactly the nearest whole number to ``share * count``.

    Example:
        >>> len(lesion_free_cases(10, 0.3, seed=0))
        3
    """
    if count < 0 or not 0 <= share <= 1:
        raise ValueError(f"A count is not negative and a share lies in [0, 1], got {count} and {share}.")
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2**32 - 1,))).permutation(count)
    return frozenset(int(index) for index in order[: int(share * count + 0.5)])


def write_dataset(
    folder: Path,
    *,
    dimension: int = 3,
    cases: int = 20,
    test_cases: int = 5,
    lesion_free: float = 0.3,
    seed: int = 0,
    name: str = "Dataset901_Phantom",
    settings: Phantom | None = None,
) -> Path:
    """Write a complete nnU-Net raw data set: images, labels, ``dataset.json``, and ``cases.csv``.

    Args:
        folder: ``nnUNet_raw``; made when missing.
        dimension: 2 (PNG) or 3 (NIfTI), for the default settings.
        cases: number of training cases.
        test_cases: number of test cases; their labels are written too (``labelsTs``).
        lesion_free: share of cases without a lesion, in each of the two sets.
        seed: the same seed writes the same bytes.
        name: of the data set, as nnU-Net wants it.
        settings: what the images are like; they decide the dimension.

    Returns:
        the folder of the data set.

    Raises:
        ValueError: if a value makes no sense.
        FileExistsError: if a data set of this number exists; nothing is ever written over.
    """
    settings = settings or Phantom.of_dimension(dimension)
    if not re.fullmatch(r"Dataset\d{3}_\w+", name):
        raise ValueError(f"nnU-Net names data sets like Dataset901_Phantom, not {name!r}.")
    if cases < 1:
        raise ValueError(f"A data set has at least one training case, got {cases}.")
    counts = {"Tr": cases, "Ts": test_cases}
    free = {
        split: lesion_free_cases(counts[split], lesion_free, seed=case_seed(seed, split=number, index=0))
        for split, (_, number) in _SPLITS.items()
    }
    target = _claim(folder, name)
    rows = [
        row
        for split in _SPLITS
        for row in _write_split(target, settings, split, counts[split], free[split], seed)
    ]
    _write_table(target / "cases.csv", rows)
    _write_description(target / "dataset.json", settings, cases)
    return target


def _claim(folder: Path, name: str) -> Path:
    """Make the data set's folder; its number must be free, because nnU-Net finds data sets by number."""
    taken = sorted(path.name for path in folder.glob(f"{name[:10]}_*"))
    if taken:
        raise FileExistsError(f"{folder} already holds {taken[0]}. Choose another number or another folder.")
    (folder / name).mkdir(parents=True)
    return folder / name


def is_phantom_dataset(folder: Path) -> bool:
    """Whether a folder was written by ``write_dataset``, so that it may be thrown away and made again."""
    file = folder / "dataset.json"
    return file.is_file() and json.loads(file.read_text("utf-8")).get("description") == _DESCRIPTION


def _write_split(
    target: Path, settings: Phantom, split: str, count: int, free: frozenset[int], seed: int
) -> Iterator[dict[str, Any]]:
    """Write the cases of one split, and yield each one's row of the table."""
    prefix, number = _SPLITS[split]
    for kind in ("images", "labels"):
        (target / f"{kind}{split}").mkdir()
    for index in range(count):
        name, own_seed = f"{prefix}_{index:03d}", case_seed(seed, split=number, index=index)
        case = make_case(replace(settings, lesions=(0, 0)) if index in free else settings, own_seed)
        write_case(
            case,
            name,
            images=target / f"images{split}",
            labels=target / f"labels{split}",
            ending=settings.ending,
        )
        yield _row(case, name, split, own_seed)


def write_case(
    case: Case, name: str, *, images: Path, labels: Path | None = None, ending: str = ".nii.gz"
) -> list[Path]:
    """Write one case with nnU-Net's file names, and return the image files in the order of the channels."""
    write = _write_picture if ending == ".png" else _write_volume
    files = [images / f"{name}_{index:04d}{ending}" for index in range(len(case.image))]
    for file, channel in zip(files, case.image, strict=True):
        write(file, _stored(channel, ending), case)
    if labels is not None:
        write(labels / f"{name}{ending}", case.labels, case)
    return files


def _stored(channel: NDArray[np.float32], ending: str) -> NDArray[Any]:
    """Whole numbers as a file holds them: int16, or 0 to 255 in a picture."""
    if ending == ".png":
        picture: NDArray[np.uint8] = np.clip(np.rint(channel * (255 / _WHITE)), 0, 255).astype(np.uint8)
        return picture
    volume: NDArray[np.int16] = np.minimum(channel, np.iinfo(np.int16).max).astype(np.int16)
    return volume


def _write_picture(file: Path, array: NDArray[Any], case: Case) -> None:  # noqa: ARG001 - pictures know no geometry
    from imageio.v3 import imwrite  # noqa: PLC0415 - drawing alone needs no file library

    imwrite(file, array, extension=".png")


def _write_volume(file: Path, array: NDArray[Any], case: Case) -> None:
    import SimpleITK as sitk  # noqa: PLC0415, N813 - drawing alone needs no file library; its usual short name

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(case.spacing[::-1])
    image.SetOrigin(case.origin)
    image.SetDirection(case.direction)
    sitk.WriteImage(image, str(file), useCompression=True)


def _row(case: Case, name: str, split: str, seed: int) -> dict[str, Any]:
    return {
        "case": name,
        "split": {"Tr": "train", "Ts": "test"}[split],
        "seed": seed,
        "lesions": len(case.lesions),
        "lesion_voxels": sum(lesion.voxels for lesion in case.lesions),
        "lesion_volumes_mm": " ".join(str(lesion.volume) for lesion in case.lesions),
        "shape": " ".join(map(str, case.labels.shape)),
        "spacing_mm": " ".join(map(str, case.spacing)),
    }


def _write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_description(file: Path, settings: Phantom, cases: int) -> None:
    description = {
        "channel_names": {str(index): name for index, name in enumerate(settings.channels)},
        **_LABELS[settings.labelling],
        "numTraining": cases,
        "file_ending": settings.ending,
        "name": "Phantom",
        "description": _DESCRIPTION,
        "licence": "CC0-1.0",
    }
    file.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
