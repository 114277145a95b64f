"""Fast questions about float16 arrays: NumPy is slow with them, but their bits are ordered like integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEGATIVE = 0x8000  # the sign's bit
_INFINITE = 0x7C00  # bits of infinity; larger magnitudes are not a number


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
    negative = max(int(array.view(np.uint16).max()) - _NEGATIVE, 0)
    bits = max(positive, negative)
    return float(np.uint16(bits).view(np.float16)) if bits < _INFINITE else np.inf
