"""Threads: order, errors, and BLAS."""

from __future__ import annotations

from threading import Barrier

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from nnunet_losses.serve.pipeline.parallel import Workers, parallel_map, single_threaded_blas


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_results_keep_their_order_and_work_is_done_at_once() -> None:
    together = Barrier(2, timeout=300)  # passes only where two wait at the same time

    def square(number: int) -> int:
        together.wait()
        return number * number

    assert parallel_map(square, [3, 1, 4, 1], threads=2) == [9, 1, 16, 1]


@pytest.mark.parametrize("threads", [1, 2])
def test_errors_come_out(threads: int) -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map(lambda number: 1 // number, [1, 0, 2], threads)


def test_less_than_one_thread_is_refused() -> None:
    with pytest.raises(ValueError, match="threads is 0; expected at least 1"):
        Workers(0)


def test_blas_is_limited_while_anybody_needs_it() -> None:
    assert np.ones((2, 2)) @ np.ones(2) is not None  # loads the library
    before = blas_threads()
    with single_threaded_blas():
        with single_threaded_blas():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == before
