"""Arithmetic as float16 arrays have it, at float32's speed: NumPy emulates float16 number by number.

A float16 sum, product or quotient is the float32 one rounded once more; so PyTorch and NumPy compute it. Here
the numbers stay in float32 arrays, `round_to_half` does the second rounding, and `pack` and `unpack` cast
exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGE, OVERFLOW = 2.0**15, 65520.0  # the largest power of two; the smallest magnitude that rounds to infinity
CHUNK = 2**17  # numbers computed at once: few calls, and the arrays still fit into a cache

_SIGN = 0x8000
_INFINITE = 0x7C00  # bits of infinity; larger magnitudes are not a number
_EXPONENT = np.uint32(0x7F800000)  # its bits in a float32 number
# Numbers below the smallest normal number, 2^-14, are as far apart as those above it. NumPy compares two
# arrays faster than an array and a number.
_SMALLEST_NORMAL = np.full(CHUNK, 2.0**-14, np.float32)
# Adding 1.5 * 2^(e + 13) to a number of exponent e leaves it 10 binary digits, rounded half to even.
_PUSH = np.float32(1.5 * 2**13)
# a float16 number's bits, read as those of a float32 number, are too small by this factor
_BIAS = np.float32(2.0**112)
_SHIFT = 13  # digits that float32 has and float16 has not


def round_to_half(values: NDArray[np.float32], scratch: NDArray[np.float32]) -> None:
    """Round to the nearest float16 numbers, half to even, in place.

    Args:
        values: contiguous.
        scratch: of the same shape, contiguous; is overwritten.

    Raises:
        OverflowError: where a value would become infinite, or is not a number.

    Example:
        >>> values = np.array([1.0005, 3e-8, -2049.0], np.float32)
        >>> expected = values.astype(np.float16)
        >>> round_to_half(values, np.empty_like(values))
        >>> bool((values == expected).all())
        True
    """
    np.bitwise_and(values.view(np.uint32), _EXPONENT, out=scratch.view(np.uint32))
    # of the values' exponents, so that the values themselves need looking at only where one is suspicious
    if not scratch.max() < LARGE and not np.abs(values).max() < OVERFLOW:
        raise OverflowError("beyond the range of float16, or not a number")
    _at_least_smallest_normal(scratch.reshape(-1))
    scratch *= _PUSH
    values += scratch
    values -= scratch


def _at_least_smallest_normal(values: NDArray[np.float32]) -> None:
    for start in range(0, values.size, CHUNK):
        part = values[start : start + CHUNK]
        np.maximum(part, _SMALLEST_NORMAL[: part.size], out=part)


def pack(values: NDArray[np.float32], result: NDArray[np.float16]) -> None:
    """Write float32 numbers that are float16 numbers, too, into a float16 array; ``values`` is overwritten.

    Example:
        >>> halves = np.empty(3, np.float16)
        >>> pack(np.array([-2.5, 0.0, 6e-8], np.float32), halves)
        >>> halves
        array([-2.5e+00,  0.0e+00,  6.0e-08], dtype=float16)
    """
    bits = values.view(np.uint32)
    sign = np.right_shift(bits, np.uint32(16)).astype(np.uint16)
    sign &= np.uint16(_SIGN)
    values /= _BIAS
    np.right_shift(bits, np.uint32(_SHIFT), out=bits)
    # casting drops the sign, which stands above bit 16; the exponent's upper bits are zero by now
    np.bitwise_or(bits.astype(np.uint16), sign, out=result.view(np.uint16))


def unpack(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Cast finite numbers to float32.

    Example:
        >>> unpack(np.array([-2.5, 6e-8], np.float16)).tolist() == [-2.5, 2.0**-24]
        True
    """
    bits = np.left_shift(halves.view(np.int16), np.int32(_SHIFT), dtype=np.int32)
    bits &= np.int32(-(2**31) | (0x7FFF << _SHIFT))
    values = bits.view(np.float32)
    values *= _BIAS
    return values


def largest_magnitude(array: NDArray[Any]) -> float:
    """Largest absolute value; infinite where a value is infinite or not a number.

    Example:
        >>> largest_magnitude(np.array([1, -3, 2], np.float16))
        3.0
        >>> largest_magnitude(np.array([1, np.nan], np.float16))
        inf
    """
    if array.dtype != np.float16:
        largest = float(np.maximum(array.max(), -array.min()))
        return largest if np.isfinite(largest) else np.inf
    positive = max(int(array.view(np.int16).max()), 0)
    negative = max(int(array.view(np.uint16).max()) - _SIGN, 0)
    bits = max(positive, negative)
    return float(np.uint16(bits).view(np.float16)) if bits < _INFINITE else np.inf
