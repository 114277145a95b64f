"""Geometry of label maps on NumPy arrays, without gradients: it runs in data-loader workers."""

from __future__ import annotations

from .components import component_sizes, components, voronoi_cells
from .distance import boundary_proximity, distance_map, label_distance_map, signed_distance_map
from .morphology import skeleton_tube, soft_skeleton

__all__ = [
    "boundary_proximity",
    "component_sizes",
    "components",
    "distance_map",
    "label_distance_map",
    "signed_distance_map",
    "skeleton_tube",
    "soft_skeleton",
    "voronoi_cells",
]
