"""Weighted sums and means of tiles, rounded to the sums' dtype after every addition, as nnU-Net rounds them.

They are computed in pieces that fit into a core's cache, several pieces at once.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .half import CHUNK, pack, round_to_half, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .parallel import Workers

    Single = NDArray[np.float32]
    Piece = tuple[slice, ...]

_GROUPS = 4  # of pieces for each thread, since some threads are slower than others
_LEAST = 4  # pieces in a group: handing out fewer takes longer than computing them


def pieces(shape: Sequence[int], most: int = CHUNK) -> list[Piece]:
    """Cut an array into pieces of about so many numbers or fewer, as whole along the last axes as can be.

    Example:
        >>> pieces((2, 3, 4), most=8)[:2]
        [(slice(0, 1, None), slice(0, 2, None), slice(0, 4, None)), \
(slice(0, 1, None), slice(2, 3, None), slice(0, 4, None))]
    """
    steps: list[int] = []
    for size in reversed(shape):
        steps.insert(0, max(1, min(size, most)))
        most //= max(1, size)
    cuts = [
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, steps, strict=True)
    ]
    return list(product(*cuts))


def add_weighted(
    total: NDArray[Any], values: NDArray[Any], weights: NDArray[Any] | None, workers: Workers
) -> None:
    """Add ``values * weights`` to ``total``, in float32, and round to the dtype of ``total``.

    Args:
        total: (heads, z, y, x), float16 or float32; changed in place.
        values: float32, or float16 without weights, of the same shape.
        weights: float32 (z, y, x); None for ones.
        workers: who does it.

    Raises:
        OverflowError: where a float16 sum would be infinite or no number.
    """
    if total.dtype == np.float16:
        _share(partial(_add_half, total, values, weights), total.shape, workers)
    else:
        _share(partial(_add_single, total, values, weights), total.shape, workers)


def divide(total: NDArray[Any], weights: NDArray[Any], workers: Workers) -> None:
    """Divide ``total`` (heads, z, y, x) by ``weights`` (z, y, x) or by a number, both of one dtype, in place.

    Raises:
        OverflowError: where a float16 quotient would be infinite or no number.
    """
    divisor = np.broadcast_to(weights, total.shape[1:])
    if total.dtype == np.float16:
        _share(partial(_divide_half, total, divisor), total.shape, workers)
    else:
        np.divide(total, divisor, out=total)


def _share(task: Callable[[Piece, Single, Single], None], shape: Sequence[int], workers: Workers) -> None:
    """Give every worker some of the pieces, and two arrays to compute in."""
    cut = pieces(shape)
    count = max(_LEAST, ceil(len(cut) / (_GROUPS * workers.threads)))

    def work(group: list[Piece]) -> None:
        first, second = np.empty((2, CHUNK), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # looked for by whoever asked for float32 sums
            for piece in group:
                form = tuple(side.stop - side.start for side in piece)
                size = prod(form)
                task(piece, first[:size].reshape(form), second[:size].reshape(form))

    workers.map(work, [cut[start : start + count] for start in range(0, len(cut), count)])


def _weighted(values: NDArray[Any], weights: NDArray[Any] | None, piece: Piece, result: Single) -> None:
    if weights is None:
        np.copyto(result, unpack(values[piece]) if values.dtype == np.float16 else values[piece])
    else:
        np.multiply(values[piece], weights[piece[1:]], out=result)


def _add_single(
    total: NDArray[Any],
    values: NDArray[Any],
    weights: NDArray[Any] | None,
    piece: Piece,
    term: Single,
    _: Single,
) -> None:
    _weighted(values, weights, piece, term)
    total[piece] += term


def _add_half(
    total: NDArray[Any],
    values: NDArray[Any],
    weights: NDArray[Any] | None,
    piece: Piece,
    term: Single,
    scratch: Single,
) -> None:
    _weighted(values, weights, piece, term)
    term += unpack(total[piece])
    round_to_half(term, scratch)
    pack(term, total[piece])


def _divide_half(
    total: NDArray[Any], divisor: NDArray[Any], piece: Piece, quotient: Single, scratch: Single
) -> None:
    np.divide(unpack(total[piece]), unpack(divisor[piece[1:]]), out=quotient)
    round_to_half(quotient, scratch)
    pack(quotient, total[piece])
