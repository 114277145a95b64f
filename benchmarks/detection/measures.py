"""How well a score tells strange cases from usual ones. Strange is the positive class; larger is stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SENSITIVITY = 0.95


def auroc(usual: Floats, strange: Floats) -> float:
    """Probability that a strange case has the larger score; ties count half.

    Example:
        >>> auroc(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
        0.875
    """
    ascending = np.sort(_ranked(usual))
    strange = _ranked(strange)
    below = np.searchsorted(ascending, strange, side="left")
    not_above = np.searchsorted(ascending, strange, side="right")
    return float((below + not_above).mean() / 2 / ascending.size)


def fpr_at_sensitivity(usual: Floats, strange: Floats) -> float:
    """Share of usual cases at or above the highest threshold that catches 95 % of the strange ones.

    Example:
        >>> fpr_at_sensitivity(np.array([0.0, 1.0, 2.0, 3.0]), np.full(20, 2.0))
        0.5
        >>> strange = np.append(np.full(19, 2.5), 0.0)  # one of twenty may be missed
        >>> fpr_at_sensitivity(np.array([0.0, 1.0, 2.0, 3.0]), strange)
        0.25
    """
    descending = np.sort(_ranked(strange))[::-1]
    needed = int(np.ceil(SENSITIVITY * descending.size - 1e-9))
    return float((_ranked(usual) >= descending[needed - 1]).mean())


def _ranked(scores: Floats) -> Floats:
    """A score that is NaN says nothing: nothing strange."""
    return np.where(np.isnan(scores), -np.inf, scores)
