"""Small masks for the metrics."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

STEADY = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

CORNER: Box = ((1, 4), (1, 4), (1, 4))
SHIFTED: Box = ((2, 5), (1, 5), (1, 3))
FAR: Box = ((8, 11), (8, 11), (8, 11))
FAR_PART: Box = ((8, 10), (8, 11), (8, 11))
SPECK: Box = ((1, 2), (8, 9), (8, 9))
SECOND: Box = ((6, 9), (1, 4), (1, 4))
BRIDGE: Box = ((1, 9), (1, 4), (1, 4))


def boxes(*several: Box, size: int = 12) -> np.ndarray:
    """Mask (size, size, size) of boxes (from, to) for each axis."""
    mask = np.zeros((size,) * 3, bool)
    for box in several:
        mask[tuple(slice(*side) for side in box)] = True
    return mask


EMPTY = boxes()

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
pairs = shapes.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))
spacings = st.tuples(*[st.sampled_from([0.3, 0.5, 1.0, 2.5])] * 3)
