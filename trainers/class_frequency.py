"""How frequent each class is in the training cases of a fold, counted once and kept beside the data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .kept import kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def class_voxels(counts: Sequence[float], channels: Sequence[int | tuple[int, ...]]) -> list[float]:
    """Sum voxel counts of labels to counts of channels.

    Args:
        counts: number of voxels of label 0, 1, ..., or a mean of such numbers.
        channels: for each channel of the logits its label, or the labels that make its region.

    Example:
        >>> class_voxels([90, 6, 4], [(1, 2), 2])
        [10, 4]
    """
    regions = [labels if isinstance(labels, list | tuple) else (labels,) for labels in channels]
    return [sum(counts[label] for label in labels if label < len(counts)) for labels in regions]


def inverse_frequency_weights(voxels: Sequence[float]) -> list[float]:
    """One weight per class: the inverse of its frequency, scaled to mean 1.

    A class without voxels takes the largest weight of the others; without any voxel all weights are 1.

    Example:
        >>> inverse_frequency_weights([300, 100, 0])
        [0.42857142857142855, 1.2857142857142856, 1.2857142857142856]
    """
    inverse = [1.0 / count if count else 0.0 for count in voxels]
    largest = max(inverse) or 1.0
    inverse = [value or largest for value in inverse]
    return [value * len(inverse) / sum(inverse) for value in inverse]


def label_counts(dataset: Any, cache_folder: str | Path) -> list[int]:
    """Count the voxels of every label in all cases of an nnU-Net dataset; -1 (outside the image) counts as 0.

    The result is kept in ``cache_folder``, under the names, sizes and times of the cases' files: another
    fold, or data preprocessed anew, is counted anew. A folder that cannot be written keeps nothing.

    Args:
        dataset: ``nnUNetBaseDataset`` of the training cases.
        cache_folder: folder for the cache file; not the one of the cases, where nnU-Net suffers no other
            file.

    Returns:
        Number of voxels of label 0, 1, ...
    """
    cache = Path(cache_folder) / f"nnunet_losses_label_counts_{fingerprint(dataset)}.json"
    counts = kept(cache, lambda: _count(dataset), about={"cases": list(dataset.identifiers)})
    return [int(count) for count in counts]


def _count(dataset: Any) -> list[int]:
    total: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    for case in dataset.identifiers:
        segmentation = np.asarray(dataset.load_case(case)[1][:])
        counts = np.bincount(np.maximum(segmentation, 0).astype(np.int64).ravel(), minlength=len(total))
        counts[: len(total)] += total
        total = counts.astype(np.int64)
    return [int(count) for count in total]


def fingerprint(dataset: Any, *further: object) -> str:
    """Return a short text that changes with the cases, with their files, and with what else matters.

    Args:
        dataset: ``nnUNetBaseDataset`` of the cases.
        *further: what else matters; its ``repr`` counts.
    """
    folder = Path(dataset.source_folder)
    digest = hashlib.sha256(repr((folder.name, *further)).encode())
    for case in sorted(dataset.identifiers):
        digest.update(f"{case}\n".encode())
        for path in (folder / f"{case}_seg.b2nd", folder / f"{case}.npz"):
            if path.is_file():
                state = path.stat()
                digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
