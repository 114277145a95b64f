"""How many cases may be in memory at once."""

from __future__ import annotations

from threading import Condition
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class MemoryGate:
    """Lets a case in where the memory suffices for it beside those that are inside; the first one always.

    What the cases inside have taken already counts twice, for it is no longer free: rather one case too few
    than one too many. Whether a case that is alone inside fits is not decided here.

    Args:
        budget: gives the bytes that may be taken now.

    Example:
        >>> with MemoryGate(lambda: 100) as gate:
        ...     gate.enter("a", 60)
        ...     gate.enter("b", 40)
        ...     gate.leave("a")
    """

    def __init__(self, budget: Callable[[], int]) -> None:
        self._budget = budget
        self._inside: dict[str, int] = {}
        self._changed = Condition()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let everybody in: nobody will leave any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def enter(self, case: str, needed: int) -> None:
        """Wait until a case that needs so many bytes may be read on."""
        with self._changed:
            self._changed.wait_for(lambda: self._admits(needed))
            self._inside[case] = needed

    def leave(self, case: str) -> None:
        """Note that a case has ended; one that never entered may leave, too."""
        with self._changed:
            self._inside.pop(case, None)
            self._changed.notify_all()

    def _admits(self, needed: int) -> bool:
        inside = sum(self._inside.values())
        return self._closed or not self._inside or needed + inside <= self._budget()
