"""Outlines hold the pixels that they were drawn around, however many holes there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.serve.outputs.contours import outlines

if TYPE_CHECKING:
    from numpy.typing import NDArray


def filled(curve: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels whose centres a curve of vertical and horizontal edges encloses: odd crossings to their left."""
    following = np.roll(curve, -1, axis=0)
    upright = curve[:, 0] == following[:, 0]
    assert np.all(upright | (curve[:, 1] == following[:, 1]))
    crossed = np.zeros((shape[0], shape[1] + 1), np.int64)
    for (x, y0), (_, y1) in zip(curve[upright], following[upright], strict=True):
        crossed[int(np.ceil(min(y0, y1))) : int(np.ceil(max(y0, y1))), int(np.ceil(x))] += 1
    return np.cumsum(crossed, axis=1)[:, :-1] % 2 == 1


def area(curve: NDArray[np.float64]) -> float:
    following = np.roll(curve, -1, axis=0)
    return float((curve[:, 0] * following[:, 1] - curve[:, 1] * following[:, 0]).sum()) / 2


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8, 0.95])
def test_random_slices_come_back(share: float) -> None:
    random = np.random.default_rng(round(100 * share))
    for _ in range(25):
        inside = random.random(random.integers(1, 16, 2)) < share
        found = outlines(inside)
        masks = [filled(curve, inside.shape) for curve in found]
        assert np.array_equal(np.sum(masks, axis=0, dtype=int) if masks else inside & False, inside)
        assert [area(curve) for curve in found] == [np.count_nonzero(mask) for mask in masks]


def test_thousands_of_holes_in_one_outline() -> None:
    inside = np.ones((161, 161), bool)
    inside[1::2, 1::2] = False
    (curve,) = outlines(inside)
    assert np.array_equal(filled(curve, inside.shape), inside)
    assert area(curve) == np.count_nonzero(inside) == 161**2 - 80**2


def test_thousands_of_islands() -> None:
    inside = np.zeros((121, 121), bool)
    inside[::2, ::2] = True
    found = outlines(inside)
    assert len(found) == 61**2
    assert {area(curve) for curve in found} == {1.0}
