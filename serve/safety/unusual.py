"""Where in the image the network meets what it does not know: its tiles, by their own encoder features."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import cdist

from nnunet_losses.serve.answer import UnusualTile

from .scores.neighbours import Neighbours, neighbours
from .scores.robust import Usual
from .scores.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry

    from .distribution import FoldScores, ScoreVector
    from .scores.pooling import TileGrid

    Features = Mapping[str, NDArray[Any]]

TOLD = 3  # tiles
LEAST_SPREAD = 1e-3  # of a distance
LARGEST_Z = 1e6  # JSON knows no infinity
SCORE = "features.global"


def tile_distances(scorer: ScoreVector, features: Features) -> NDArray[np.float64] | None:
    """Distance of each tile from the known cases, as the score of a whole image has it: (tiles,).

    Args:
        scorer: fitted to known cases.
        features: by output name, (tiles, channels).

    Returns:
        None where there are no features, or no score of them.
    """
    score = scorer.scores.get(SCORE) if isinstance(scorer, Scorer) else None
    if not features or not isinstance(score, Neighbours) or score.standard is None:
        return None
    standard = score.standard
    tiles = len(next(iter(features.values())))
    rows = [standard({name: values[i] for name, values in features.items()}) for i in range(tiles)]
    vectors = (np.stack(rows) * standard.stage_weights).astype(np.float32)
    nearest = neighbours(len(score.bank))
    distances: NDArray[np.float64] = np.partition(cdist(vectors, score.bank), nearest - 1, axis=1)[
        :, nearest - 1
    ]
    return distances


def strangest_tiles(scorer: ScoreVector, cases: Iterable[Features | None]) -> Usual | None:
    """Median and spread of the strangest tile of each case; None where nothing is known of tiles."""
    found = [tile_distances(scorer, features) for features in cases if features is not None]
    largest = [[float(distances.max())] for distances in found if distances is not None and distances.size]
    return Usual.of(np.array(largest), least=LEAST_SPREAD) if largest else None


def unusual_tiles(
    fold: FoldScores, features: Features, grid: TileGrid, geometry: Geometry
) -> tuple[UnusualTile, ...]:
    """Name the strangest tiles of an image, at most ``TOLD``, strangest first.

    Args:
        fold: of the calibration.
        features: of the image's tiles, (tiles, channels) by output name.
        grid: where the tiles lie.
        geometry: of the image.
    """
    distances = None if fold.strangest is None else tile_distances(fold.scorer, features)
    if distances is None or fold.strangest is None:
        return ()
    z = (distances - fold.strangest.centre[0]) / fold.strangest.scale[0]
    order = np.argsort(-z, kind="stable")[:TOLD]
    return tuple(_told(grid.voxels(int(tile)), float(z[tile]), geometry) for tile in order)


def _told(
    voxels: tuple[tuple[int, int], tuple[int, int], tuple[int, int]], z: float, geometry: Geometry
) -> UnusualTile:
    corners = None if geometry.dimension == 2 else _corners(voxels, geometry)
    return UnusualTile(voxels=voxels, corners_mm=corners, z=round(min(z, LARGEST_Z), 3))


def _corners(
    voxels: tuple[tuple[int, int], ...], geometry: Geometry
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Smallest and largest coordinates (x, y, z) of a box's eight corners, half a voxel around its voxels."""
    direction = np.array(geometry.direction, np.float64).reshape(3, 3)
    edges = [(start - 0.5, stop - 0.5) for start, stop in reversed(voxels)]
    indices = np.array(list(product(*edges)))
    places = np.array(geometry.origin) + (indices * np.array(geometry.spacing)) @ direction.T
    low, high = places.min(axis=0).round(3).tolist(), places.max(axis=0).round(3).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
