"""Which maps there are, and how each is made from the labels of one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .components import component_sizes, components, voronoi_cells
from .distance import boundary_proximity, distance_map, signed_distance_map
from .morphology import skeleton_tube, soft_skeleton

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .distance import Mask, Spacing

    Maps = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Sample:
    """The labels of one sample. An ignored voxel belongs to no class.

    Args:
        foreground: one mask per foreground class, (F, *S) bool.
        exclusive: the classes exclude each other (softmax).
        valid: (*S) bool, true where the voxel counts.
        spacing: distance between voxel centres along each axis; None: 1.
        iterations: of the soft skeleton.
    """

    foreground: Mask
    exclusive: bool
    valid: Mask
    spacing: Spacing = None
    iterations: int = 10

    @property
    def union(self) -> Mask:
        """Where any foreground class is, (1, *S)."""
        return np.asarray(self.foreground.any(axis=0, keepdims=True))


def make_maps(names: tuple[str, ...], sample: Sample) -> Maps:
    """Make the named maps of one sample.

    Raises:
        ValueError: for a name that is not among ``MAPS``.

    Example:
        >>> labels = np.array([[0, 0, 1, 1, 0, 1]])
        >>> sample = Sample(foreground=labels[None] == 1, exclusive=True, valid=labels >= 0)
        >>> maps = make_maps(("components",), sample)
        >>> maps["components"], maps["component_sizes"]
        (array([[[0, 0, 1, 1, 0, 2]]], dtype=int32), array([[2, 1]], dtype=int32))
    """
    maps: Maps = {}
    for name in names:
        if name not in MAPS:
            raise ValueError(f"there is no geometry map {name!r}; expected some of {', '.join(MAPS)}")
        maps |= MAPS[name](sample)
    return maps


def _distance(sample: Sample) -> Maps:
    return {"distance": _stack([distance_map(mask, sample.spacing) for mask in sample.foreground])}


def _signed_distance(sample: Sample) -> Maps:
    maps = [signed_distance_map(mask, sample.spacing) for mask in sample.foreground]
    return {"signed_distance": _stack(maps)}


def _boundary_proximity(sample: Sample) -> Maps:
    labels = [_labels(sample.foreground)] if sample.exclusive else sample.foreground
    return {"boundary_proximity": _stack([boundary_proximity(item, sample.spacing) for item in labels])}


def _components(sample: Sample) -> Maps:
    ids = [components(mask) for mask in sample.foreground]
    return {"components": _stack(ids), "component_sizes": _rows([component_sizes(item) for item in ids])}


def _cells(sample: Sample) -> Maps:
    ids = [components(mask) for mask in sample.foreground]
    cells = [np.maximum(voronoi_cells(item, sample.spacing), 1) for item in ids]  # one cell if no component
    counts = [int(item.max()) for item in cells]
    valid = [component_sizes(item * sample.valid, count) for item, count in zip(cells, counts, strict=True)]
    truth = [component_sizes(item, count) for item, count in zip(ids, counts, strict=True)]
    return {"cells": _stack(cells), "cell_sizes": _rows(valid), "cell_component_sizes": _rows(truth)}


def _lesions(sample: Sample) -> Maps:
    ids = components(sample.union[0], faces_only=True)
    return {"lesions": ids[None], "lesion_sizes": component_sizes(ids)[None]}


def _skeleton_tube(sample: Sample) -> Maps:
    masks = sample.union if sample.exclusive else sample.foreground
    return {"skeleton_tube": _stack([skeleton_tube(mask) for mask in masks])}


def _soft_skeleton(sample: Sample) -> Maps:
    return {"soft_skeleton": _stack([soft_skeleton(mask, sample.iterations) for mask in sample.foreground])}


def _labels(foreground: Mask) -> NDArray[np.uint16]:
    """Class ids of exclusive classes; an ignored voxel, of no class, is 0 like the background."""
    labels = np.zeros(foreground.shape[1:], np.uint16)
    for number, mask in enumerate(foreground, start=1):
        labels += mask.astype(np.uint16) * np.uint16(number)
    return labels


def _stack(maps: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Stack maps of equal shape, without a copy if there is one only."""
    return maps[0][None] if len(maps) == 1 else np.stack(maps)


def _rows(rows: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """Stack rows of different length, filled up with 0."""
    table = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for filled, row in zip(table, rows, strict=True):
        filled[: len(row)] = row
    return table


# F: foreground channels, K: the largest number of components, filled up with 0.
MAPS: dict[str, Callable[[Sample], Maps]] = {
    "distance": _distance,  # (F, *S) float32
    "signed_distance": _signed_distance,  # (F, *S) float32
    "boundary_proximity": _boundary_proximity,  # (1, *S), for regions (F, *S), float32
    "components": _components,  # (F, *S) int32; component_sizes (F, K)
    "cells": _cells,  # (F, *S) int32 from 1; cell_sizes (valid voxels), cell_component_sizes (F, K)
    "lesions": _lesions,  # components of the union by faces, (1, *S) int32; lesion_sizes (1, K)
    "skeleton_tube": _skeleton_tube,  # (1, *S), for regions (F, *S), bool
    "soft_skeleton": _soft_skeleton,  # (F, *S) bool
}
