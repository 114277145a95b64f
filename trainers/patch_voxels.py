"""How many voxels of each label a training patch holds on average: the heuristic epsilon of Dice."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

from nnunet_losses.ranks import sum_over_ranks

from .class_frequency import fingerprint
from .kept import kept

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PATCHES = 500  # of each kind, random and with foreground; at least one of each case
SMALLEST = 1e-5  # epsilon of a class that no patch holds: that of ``dice``
_SEED = 0


@dataclass(frozen=True)
class Drawing:
    """How nnU-Net's data loader draws training patches, augmentation aside.

    Args:
        patch_size: of the network's input, two or three axes.
        initial_patch_size: of what is cut out of a case; its centre becomes the patch.
        foreground: share of the patches that are drawn around a foreground voxel.
        annotated: the label manager's, of data with an ignore label: other patches are drawn around an
            annotated voxel.
    """

    patch_size: tuple[int, ...]
    initial_patch_size: tuple[int, ...]
    foreground: float
    annotated: bool

    @property
    def kinds(self) -> dict[bool, float]:
        """Whether foreground is forced, and the share of such patches; those that occur."""
        shares = {True: self.foreground, False: 1 - self.foreground}
        return {kind: share for kind, share in shares.items() if share > 0}


def training_drawing(trainer: Any) -> Drawing:
    """Say how a trainer's data loader draws, over all ranks of a distributed training."""
    _, _, initial_patch_size, _ = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    share = sum(_forced(trainer, sample) for sample in range(trainer.batch_size))
    forced, samples = sum_over_ranks(
        torch.tensor([share, trainer.batch_size], dtype=torch.float32, device=trainer.device)
    ).tolist()
    return Drawing(
        patch_size=tuple(map(int, trainer.configuration_manager.patch_size)),
        initial_patch_size=tuple(map(int, initial_patch_size)),
        foreground=round(forced / samples, 6),
        annotated=trainer.label_manager.has_ignore_label,
    )


def _forced(trainer: Any, sample: int) -> float:
    """Probability that a sample of a batch is drawn around a foreground voxel; see ``nnUNetDataLoader``."""
    percent = float(trainer.oversample_foreground_percent)
    if trainer.probabilistic_oversampling:
        return percent
    return float(sample >= round(trainer.batch_size * (1 - percent)))


def mean_patch_voxels(
    dataset: Any, drawing: Drawing, label_manager: Any, cache_folder: str | Path
) -> list[float]:
    """Return the mean number of voxels of every label in a training patch, patches without it included.

    Patches are drawn by nnU-Net's own data loader, from each case equally often and with a fixed seed, random
    ones and ones around a foreground voxel apart; their means are weighted by how often nnU-Net draws them.
    Ignored voxels and those outside the image belong to no class.

    Args:
        dataset: ``nnUNetBaseDataset`` of the training cases.
        drawing: how patches are drawn.
        label_manager: nnU-Net's.
        cache_folder: folder for the cache file, see ``class_frequency.label_counts``.

    Returns:
        Voxels of label 0, 1, ... (-1, outside the image, counts as 0).
    """
    name = f"nnunet_losses_patch_voxels_{fingerprint(dataset, drawing, PATCHES)}.json"
    about = {**asdict(drawing), "cases": list(dataset.identifiers), "patches_of_each_kind": PATCHES}
    return kept(Path(cache_folder) / name, lambda: _mean(dataset, drawing, label_manager), about=about)


def _mean(dataset: Any, drawing: Drawing, label_manager: Any) -> list[float]:
    loader = nnUNetDataLoader(dataset, 1, drawing.initial_patch_size, drawing.patch_size, label_manager)
    cases = sorted(dataset.identifiers)
    each = -(-PATCHES // len(cases))
    total: NDArray[np.float64] = np.zeros(1)
    with _seeded():
        for case in cases:
            _, segmentation, _, properties = dataset.load_case(case)
            for forced, share in drawing.kinds.items():
                for _ in range(each):
                    counts = _draw(loader, segmentation, properties["class_locations"], forced=forced)
                    total = _add(total, counts * np.float64(share))
    return [float(number) for number in total / (each * len(cases))]


def _draw(
    loader: nnUNetDataLoader, segmentation: Any, locations: dict[Any, Any], *, forced: bool
) -> NDArray[np.int64]:
    """Count the labels of one patch."""
    lower, _ = loader.get_bbox(segmentation.shape[1:], forced, locations)
    size = np.array(loader.final_patch_size)
    starts = np.array(lower) + (np.array(loader.patch_size) - size) // 2
    patch = crop_and_pad_nd(segmentation, np.stack([starts, starts + size], 1).tolist(), -1)
    return np.bincount(np.maximum(patch[0], 0).astype(np.int64).ravel())


def _add(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add vectors, the shorter one filled up with 0."""
    total = np.zeros(max(len(first), len(second)))
    total[: len(first)] += first
    total[: len(second)] += second
    return total


@contextmanager
def _seeded() -> Iterator[None]:
    """Seed NumPy's global generator, which nnU-Net draws from, and put it back as it was."""
    state = np.random.get_state()  # noqa: NPY002 - nnU-Net's
    np.random.seed(_SEED)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
