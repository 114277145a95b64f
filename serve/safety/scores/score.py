"""What every strangeness score is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .observation import Observation

    Arrays = Mapping[str, NDArray[Any]]


class Score(Protocol):
    """A number that grows with strangeness, fitted to known cases.

    The cases that a score was fitted to are closer to it than any others: rank new cases only against cases
    that it was not fitted to.
    """

    def score(self, observation: Observation) -> float:
        """Return how strange a case is; NaN where the case, or the fit, has not what it takes."""

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything that was fitted, without objects."""

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild the very same score from ``to_arrays``."""


def require_cases(observations: Sequence[Observation]) -> None:
    """Refuse to fit to nothing.

    Raises:
        ValueError: for no cases.
    """
    if not observations:
        raise ValueError("there are no cases to fit to; give at least one observation")


def nested(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Put a prefix before the names of arrays.

    Example:
        >>> nested("a", {"b": 1}), unnested("a", {"a/b": 1, "c/b": 2})
        ({'a/b': 1}, {'b': 1})
    """
    return {f"{prefix}/{name}": values for name, values in arrays.items()}


def unnested(prefix: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Take the arrays under a prefix, without it."""
    start = f"{prefix}/"
    return {name[len(start) :]: values for name, values in arrays.items() if name.startswith(start)}
