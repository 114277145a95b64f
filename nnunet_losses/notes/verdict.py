"""Words for the pushes on false alarms, so that pages and terminal judge alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WORDS = (
    (-0.02, "raises", "pushes them up, by more than 2 % of cross-entropy's push"),
    (0.02, "ignores", "less than 2 %"),
    (0.3, "weakly suppresses", "2 to 30 %"),
    (30.0, "suppresses", "from 30 % to thirty times"),
    (float("inf"), "slams", "more than thirty times"),
)


def verdict(pushes: Iterable[float]) -> str:
    """Say in a word what a loss does to false alarms: small ones first, and large ones if that differs.

    Example:
        >>> verdict((1.0, 1.0)), verdict((1e-6, 0.0)), verdict((0.0, 3.0))
        ('suppresses', 'ignores', 'ignores small, suppresses large')
    """
    small, large = (_word(push) for push in pushes)
    return small if small == large else f"{small} small, {large} large"


def _word(push: float) -> str:
    return next(word for limit, word, _ in WORDS if push < limit)
