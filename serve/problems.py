"""A refusal as a problem, for whatever is written or sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answer import Problem

if TYPE_CHECKING:
    from .errors import Refusal


def problem_of(refusal: Refusal) -> Problem:
    """A refusal as it stands in an answer or a problem file."""
    return Problem(
        code=refusal.code.value,
        detail=refusal.detail,
        remedy=refusal.remedy,
        observed=refusal.observed,
        expected=refusal.expected,
    )
