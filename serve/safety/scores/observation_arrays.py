"""Observations as plain arrays, to be kept in files."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .found import Found
from .observation import Grid, Observation
from .score import nested, unnested

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .score import Arrays

_PLAIN = ("raw", "nonzero", "correlations", "preprocessed", "texture")
_BY_OUTPUT = ("features", "foreground_features")


def observation_to_arrays(observation: Observation) -> dict[str, NDArray[Any]]:
    """Return what ``observation_from_arrays`` takes; what is None is left out."""
    arrays = nested("grid", {name: np.array(value) for name, value in asdict(observation.grid).items()})
    for name in _PLAIN:
        values = getattr(observation, name)
        arrays |= {} if values is None else {name: values}
    for name in _BY_OUTPUT:
        arrays |= nested(name, getattr(observation, name) or {})
    arrays |= nested("doubts", {name: np.array(value) for name, value in (observation.doubts or {}).items()})
    return arrays | ({} if observation.found is None else nested("found", vars(observation.found)))


def observation_from_arrays(arrays: Arrays) -> Observation:
    """Rebuild the very same observation.

    Raises:
        KeyError: an array is missing.
    """
    grid = unnested("grid", arrays)
    found = unnested("found", arrays)
    doubts = {name: float(value) for name, value in unnested("doubts", arrays).items()}
    plain: dict[str, Any] = {name: arrays.get(name) for name in _PLAIN}
    features: dict[str, Any] = {name: unnested(name, arrays) or None for name in _BY_OUTPUT}
    return Observation(
        grid=Grid(
            spacing=tuple(grid["spacing"].tolist()),
            extent=tuple(grid["extent"].tolist()),
            orientation=str(grid["orientation"]),
            obliqueness=float(grid["obliqueness"]),
            determinant=float(grid["determinant"]),
        ),
        found=Found(**found) if found else None,
        doubts=doubts or None,
        **plain,
        **features,
    )
