"""Geometry the slow way: comparing all pairs of voxels, and flood fill."""

from __future__ import annotations

from itertools import product

import numpy as np


def coordinates(mask, spacing):
    return np.argwhere(mask) * np.asarray(spacing)


def distance(mask, spacing):
    """Distance of each voxel to the nearest voxel of the other side; 0 where there is no other side."""
    result = np.zeros(mask.shape)
    for side in (mask, ~mask):
        here, there = coordinates(side, spacing), coordinates(~side, spacing)
        if len(here) and len(there):
            result[side] = np.sqrt(((here[:, None] - there[None]) ** 2).sum(2)).min(1)
    return result


def label_distance(labels, spacing):
    result = np.zeros(labels.shape)
    for label in np.unique(labels):
        result[labels == label] = distance(labels == label, spacing)[labels == label]
    return result


def neighbours(position, shape, *, faces_only):
    for step in product((-1, 0, 1), repeat=len(shape)):
        if any(step) and (not faces_only or np.abs(step).sum() == 1):
            other = tuple(np.add(position, step))
            if all(0 <= i < n for i, n in zip(other, shape, strict=True)):
                yield other


def components(mask, *, faces_only=False):
    """Ids from 1 by flood fill."""
    ids, number = np.zeros(mask.shape, int), 0
    for start in map(tuple, np.argwhere(mask)):
        if ids[start]:
            continue
        number += 1
        ids[start], stack = number, [start]
        while stack:
            for other in neighbours(stack.pop(), mask.shape, faces_only=faces_only):
                if mask[other] and not ids[other]:
                    ids[other] = number
                    stack.append(other)
    return ids


def distance_to_each(ids, spacing):
    """Distance of each voxel to each component, (K, *S)."""
    here = coordinates(np.ones_like(ids, bool), spacing)
    return np.stack(
        [
            np.sqrt(((here[:, None] - coordinates(ids == k, spacing)[None]) ** 2).sum(2))
            .min(1)
            .reshape(ids.shape)
            for k in range(1, ids.max() + 1)
        ]
    )


def dilate(mask, *, times):
    """Add face neighbours."""
    for _ in range(times):
        grown = mask.copy()
        for position in map(tuple, np.argwhere(mask)):
            for other in neighbours(position, mask.shape, faces_only=True):
                grown[other] = True
        mask = grown
    return mask


def boundary_count(mask):
    """Voxels with fewer face neighbours inside than a voxel deep inside has."""
    return sum(
        sum(mask[other] for other in neighbours(position, mask.shape, faces_only=True)) < 2 * mask.ndim
        for position in map(tuple, np.argwhere(mask))
    )
