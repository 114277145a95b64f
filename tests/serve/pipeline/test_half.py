"""Fast float16 arithmetic against NumPy's, over all numbers that there are."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.pipeline.half import OVERFLOW, largest_magnitude, pack, round_to_half, unpack

HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = HALVES[np.isfinite(HALVES)]


def rounded(values: np.ndarray) -> np.ndarray:
    result = values.copy()
    round_to_half(result, np.empty_like(result))
    return result


def test_unpacking_equals_a_cast() -> None:
    result = unpack(FINITE)
    np.testing.assert_array_equal(result.view(np.uint32), FINITE.astype(np.float32).view(np.uint32))


def test_packing_is_the_way_back() -> None:
    result = np.empty_like(FINITE)
    pack(FINITE.astype(np.float32), result)
    np.testing.assert_array_equal(result.view(np.uint16), FINITE.view(np.uint16))


def test_numbers_around_every_tie_are_rounded_as_numpy_rounds_them() -> None:
    ordered = np.unique(FINITE.astype(np.float64))
    ties = ((ordered[1:] + ordered[:-1]) / 2).astype(np.float32)  # exact
    values = np.concatenate(
        [ordered, ties, np.nextafter(ties, np.float32(np.inf)), np.nextafter(ties, np.float32(-np.inf))]
    ).astype(np.float32)
    np.testing.assert_array_equal(rounded(values), values.astype(np.float16))


def test_random_bits_are_rounded_as_numpy_rounds_them() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 2**20, dtype=np.uint32)
    values = bits.view(np.float32)
    values = values[np.abs(values) < OVERFLOW]
    np.testing.assert_array_equal(rounded(values), values.astype(np.float16))


@pytest.mark.parametrize("value", [OVERFLOW, -OVERFLOW, 1e30, np.inf, -np.inf, np.nan])
def test_what_would_be_infinite_raises(value: float) -> None:
    with pytest.raises(OverflowError, match="float16"):
        rounded(np.array([1, value], np.float32))
    largest = np.nextafter(np.float32(OVERFLOW), np.float32(0))
    assert rounded(np.array([largest, -largest])).tolist() == [65504, -65504]


def test_arrays_of_several_axes_and_strides() -> None:
    halves = np.random.default_rng(1).standard_normal((5, 6, 7)).astype(np.float16)
    result = np.zeros((5, 9, 8), np.float16)
    pack(unpack(halves[:, ::2]), result[:, 2:5, 1:])
    np.testing.assert_array_equal(result[:, 2:5, 1:], halves[:, ::2])
    assert np.count_nonzero(result) == halves[:, ::2].size


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, -3], 3),
        ([-2, -1], 2),
        ([0, 0], 0),
        ([np.inf, 1], np.inf),
        ([-np.inf, 1], np.inf),
        ([np.nan, 1], np.inf),
    ],
)
def test_largest_magnitude(values: list[float], expected: float, dtype: type) -> None:
    assert largest_magnitude(np.array(values, dtype)) == expected
