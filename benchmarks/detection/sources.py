"""The images of the detection benchmark: which cases there are, usual, damaged and foreign."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.schema import Reader
from nnunet_losses.serve.stress.suite import damages

from .phantoms import KINDS, VOLUME, image_of
from .protocol import FIRST_FRESH_STRANGE, SIZES, Cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nnunet_losses.serve.image import Image

    from .baselines import Seen

HIPPOCAMPUS_SEED = 12345  # of nnU-Net's own folds
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "ihc", "moon", "motorcycle_left", "page", "retina", "rocket", "text",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Item:
    """One image of the benchmark.

    Attributes:
        role: fit, pool, usual, strange, tuning or far.
        name: of the case.
        image: with its damage.
        cell: the damage; None where there is none.
        kind: of a far image.
    """

    role: str
    name: str
    image: Image
    cell: Cell | None = None
    kind: str | None = None


@dataclass(frozen=True, eq=False)
class Looked:
    """What is kept of one image.

    Attributes:
        item: without the image's voxels.
        refused: the contract's code; None where it accepts.
        seen: None where the pipeline could not run.
    """

    item: Item
    refused: str | None
    seen: Seen | None


def items(data: str, folder: Path, work: Path) -> Iterator[Item]:
    """All images of a data set, usual ones first.

    Args:
        data: ``volume`` or ``hippocampus``.
        folder: with hippocampus3d.
        work: with the phantoms' data set.
    """
    sizes = SIZES[data]
    reader = Readers(data, folder, work)
    fit, pool = reader.fold()
    for role, names in (("fit", fit), ("pool", pool)):
        yield from (Item(role, name, reader.known(name)) for name in names)
    for index in range(sizes.usual):
        yield Item("usual", *reader.new(index))
    for index in range(sizes.far):
        yield from _far(reader, index)
    tuned = fit[sizes.tuning_fit :][: sizes.tuning_strange]
    for name in tuned:
        yield from _damaged("tuning", name, reader.known(name))
    for index in range(sizes.strange):
        first = FIRST_FRESH_STRANGE if data in KINDS else 0
        yield from _damaged("strange", *reader.new(first + index))


def _damaged(role: str, name: str, image: Image) -> Iterator[Item]:
    for corruption, severity in damages(image):
        cell = Cell(corruption.key, severity)
        yield Item(role, name, corruption.apply(image, severity, case=name), cell)


def _far(reader: Readers, index: int) -> Iterator[Item]:
    """Other anatomy and a photograph in the place of a new case."""
    name, image = reader.new(index)
    yield Item("far", name, in_place(reader.other(index), image), kind="anatomy")
    yield Item("far", name, in_place(photograph(index, image.shape), image), kind="photograph")


@dataclass(frozen=True)
class Readers:
    """Gives images by name or number."""

    data: str
    folder: Path
    work: Path

    @property
    def _source(self) -> Path:
        if self.data == "hippocampus":
            return self.folder / "hippocampus3d"
        kind = KINDS[self.data]
        return self.work / "data" / f"Dataset{kind.number}_{kind.name}"

    def fold(self) -> tuple[list[str], list[str]]:
        """Names of the training and the validation cases of fold 0."""
        if self.data != "hippocampus":
            return tuple(KINDS[self.data].splits()[0].values())  # type: ignore[return-value]
        from nnunetv2.utilities.crossval_split import generate_crossval_split

        names = sorted(path.name[: -len("_0000.nii.gz")] for path in (self._source / "imagesTr").iterdir())
        first = generate_crossval_split(names, seed=HIPPOCAMPUS_SEED)[0]
        return [str(name) for name in first["train"]], [str(name) for name in first["val"]]

    def known(self, name: str) -> Image:
        """A case of the fold."""
        return self._read(sorted((self._source / "imagesTr").glob(f"{name}_*")))

    def new(self, index: int) -> tuple[str, Image]:
        """Name and image of a case that the fold does not know."""
        if self.data in KINDS:
            kind = KINDS[self.data]
            return f"fresh_{index:05d}", image_of(kind.fresh(index), kind.settings.ending)
        file = sorted((self._source / "imagesTs").iterdir())[index]
        return file.name[: -len("_0000.nii.gz")], self._read([file])

    def other(self, index: int) -> Image:
        """An image of other anatomy."""
        if self.data == "hippocampus":
            return image_of(VOLUME.fresh(2 * FIRST_FRESH_STRANGE + index), ".nii.gz")
        files = sorted((self.folder / "hippocampus3d" / "imagesTs").iterdir())
        return read_image([files[index % len(files)]], reader=Reader.SIMPLE_ITK)

    def _read(self, files: Sequence[Path]) -> Image:
        image = read_image(files, reader=Reader.SIMPLE_ITK)
        return replace(image, data=np.ascontiguousarray(image.data))


def in_place(other: Image | np.ndarray, image: Image) -> Image:
    """Another image's voxels, brought to the shape of an image and to the range of each of its channels."""
    voxels = other if isinstance(other, np.ndarray) else other.data[0]
    factors = [new / old for new, old in zip(image.shape, voxels.shape, strict=True)]
    resized = ndimage.zoom(voxels.astype(np.float64), factors, order=1, grid_mode=True, mode="nearest")
    share = (resized - resized.min()) / np.ptp(resized)
    low = image.data.min(axis=(1, 2, 3), keepdims=True)
    high = image.data.max(axis=(1, 2, 3), keepdims=True)
    return replace(image, data=(low + (high - low) * share).astype(np.float32))


def photograph(index: int, shape: Sequence[int]) -> np.ndarray:
    """A part of one of scikit-image's photographs, the same in every slice."""
    import skimage.data
    from imageio.v3 import imread

    stem = PHOTOGRAPHS[index % len(PHOTOGRAPHS)]
    (file,) = Path(skimage.data.__file__).parent.glob(f"{stem}.*")
    picture = imread(file)
    grey = picture if picture.ndim == 2 else picture[..., :3].mean(axis=-1)
    random = np.random.default_rng([index, 5])
    side = int(random.integers(min(grey.shape) // 3, min(grey.shape)))
    y, x = (int(random.integers(0, size - side + 1)) for size in grey.shape)
    return np.repeat(grey[None, y : y + side, x : x + side], shape[0], axis=0)
