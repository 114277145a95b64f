"""Work shared among threads: NumPy releases the interpreter's lock while it computes.

Its BLAS would start threads of its own for every product: too many, and for products too small to gain by it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Self, TypeVar

from threadpoolctl import ThreadpoolController

from nnunet_losses.serve.backends.threads import allowed_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Any

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Threads that share a list of work, for as long as a ``with`` statement lasts.

    Args:
        threads: how many at most; None takes the cores that this process may use.

    Raises:
        ValueError: for fewer than one thread.

    Example:
        >>> with Workers(2) as workers:
        ...     workers.map(abs, [-1, 2, -3])
        [1, 2, 3]
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = allowed_cores() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"threads is {threads}; expected at least 1, or None for all cores")
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=kind is not None)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Call a function for every item. Results have the items' order; the first error is raised."""
        listed = list(items)
        if self._pool is None or len(listed) < 2:
            return [function(item) for item in listed]
        return list(self._pool.map(function, listed))


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None
) -> list[Result]:
    """Call a function that multiplies matrices for every item, in threads with one BLAS thread each."""
    with Workers(threads) as workers, single_threaded_blas():
        return workers.map(function, items)


@cache
def _blas() -> Any:
    return ThreadpoolController().select(user_api="blas")


class _Limit:
    """The process-wide limit and how many ask for it: the last one to leave lifts it."""

    lock = Lock()
    users = 0
    limiter: Any = None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to one thread, in the whole process, while anybody is in here."""
    with _Limit.lock:
        if _Limit.users == 0:
            _Limit.limiter = _blas().limit(limits=1)
        _Limit.users += 1
    try:
        yield
    finally:
        with _Limit.lock:
            _Limit.users -= 1
            if _Limit.users == 0:
                _Limit.limiter.restore_original_limits()
