"""Observations for tests: of phantoms, and made up."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from nnunet_losses.phantom import Phantom, make_case
from nnunet_losses.serve.image import Geometry, Image
from nnunet_losses.serve.safety.scores.found import Found, observe_mask
from nnunet_losses.serve.safety.scores.observation import (
    LEVELS,
    Grid,
    Observation,
    observe_image,
    order_statistics,
)
from nnunet_losses.serve.safety.scores.texture import STATISTICS, observe_texture
from nnunet_losses.serve.schema import Label

if TYPE_CHECKING:
    from numpy.typing import NDArray

SETTINGS = Phantom(size=(16, 32, 32), lesions=(0, 3), channels=("T1", "T2"))
LABELS = (
    Label(name="organ", channel=1, value=1, members=(1,)),
    Label(name="lesion", channel=2, value=2, members=(2,)),
)
GRID = Grid((3.0, 1.0, 1.0), (60.0, 100.0, 100.0), "LPS", 0.0, 1.0)


def made_up(random: np.random.Generator, *, channels: int = 2, **changes: Any) -> Observation:
    """An observation with everything in it, none of it from an image."""
    stages = {"stage0": random.normal(size=4), "stage1": random.normal(3, 2, size=12)}
    values: dict[str, Any] = {
        "grid": replace(GRID, spacing=tuple((np.array(GRID.spacing) * random.uniform(0.9, 1.1, 3)).tolist())),
        "raw": np.sort(random.normal(100, 20, (channels, LEVELS)), axis=1),
        "nonzero": random.uniform(0.4, 0.6, channels),
        "correlations": np.corrcoef(random.normal(size=(channels, 50)) + random.normal(size=50)).reshape(
            channels, channels
        ),
        "preprocessed": np.sort(random.normal(size=(channels, LEVELS)), axis=1),
        "features": stages,
        "foreground_features": {name: values + 1 for name, values in stages.items()},
        "found": Found(
            random.uniform(1e3, 2e3, 2),
            random.integers(1, 4, 2).astype(float),
            random.uniform(0.4, 0.6, (2, 3)),
        ),
        "texture": random.normal(size=(channels, STATISTICS)),
    }
    return Observation(**(values | changes))


def some(count: int, **changes: Any) -> list[Observation]:
    """Several made-up observations."""
    random = np.random.default_rng(7)
    return [made_up(random, **changes) for _ in range(count)]


def stand_in_features(normalised: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """What an encoder's pooled features are like: moments of edges, from fine to coarse."""
    features = {}
    for stage, sigma in enumerate((0.7, 1.5, 3.0)):
        edges = [
            np.abs(ndimage.gaussian_filter(channel, sigma, order=order))
            for channel in normalised
            for order in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 2, 0), (0, 1, 1))
        ]
        features[f"stage{stage}"] = np.log(
            [1e-3 + moment for edge in edges for moment in (edge.mean(), edge.std())]
        )
    return features


def observed(image: Image, labels: NDArray[Any]) -> Observation:
    """An image with z-score normalisation, stand-ins for features, and a mask."""
    mean, deviation = (f(image.data, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
    normalised = (image.data - mean) / deviation
    body = tuple(slice(0, size) for size in image.shape)
    features = stand_in_features(normalised)
    return replace(
        observe_image(image),
        preprocessed=order_statistics(normalised.reshape(len(normalised), -1)),
        features=features,
        foreground_features=features,
        found=observe_mask(labels, LABELS, image.geometry, body),
        texture=observe_texture(normalised.astype(np.float32)),
    )


@cache
def phantom(seed: int) -> tuple[Image, NDArray[Any]]:
    """A phantom as the pipeline sees it, with its mask."""
    case = make_case(SETTINGS, seed)
    z, y, x = case.spacing
    geometry = Geometry(3, (x, y, z), case.origin, case.direction)
    return Image(case.image, (z, y, x), geometry, ""), case.labels


@cache
def phantoms(first: int, count: int) -> tuple[Observation, ...]:
    """Observations of phantoms."""
    return tuple(observed(*phantom(seed)) for seed in range(first, first + count))
