"""All scores of a case at once: the vector that ``conformal.combined`` takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nnunet_losses.serve.pipeline.agreement import MEASURES

from .appearance import Appearance
from .channels import Correlations
from .doubts import Doubt, measured
from .geometry import GridDistance, Orientation
from .histogram import Histogram
from .neighbours import Neighbours
from .plausibility import Plausibility
from .score import nested, unnested

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from .observation import Observation
    from .score import Arrays, Score

    Fit = Callable[[Sequence[Observation]], Score]

RECIPES: dict[str, tuple[type[Score], Fit]] = {
    "histogram.raw": (Histogram, partial(Histogram.fit, place="raw")),
    "histogram.preprocessed": (Histogram, partial(Histogram.fit, place="preprocessed")),
    "texture": (Appearance, Appearance.fit),
    "features.global": (Neighbours, partial(Neighbours.fit, pooling="features")),
    "features.foreground": (Neighbours, partial(Neighbours.fit, pooling="foreground_features")),
    "geometry.spacing": (GridDistance, partial(GridDistance.fit, quantity="spacing")),
    "geometry.extent": (GridDistance, partial(GridDistance.fit, quantity="extent")),
    "geometry.obliqueness": (GridDistance, partial(GridDistance.fit, quantity="obliqueness")),
    "geometry.orientation": (Orientation, Orientation.fit),
    "content.nonzero": (GridDistance, partial(GridDistance.fit, quantity="nonzero")),
    "channels.correlation": (Correlations, Correlations.fit),
    "prediction.volume": (Plausibility, partial(Plausibility.fit, aspect="volume")),
    "prediction.components": (Plausibility, partial(Plausibility.fit, aspect="components")),
    "prediction.place": (Plausibility, partial(Plausibility.fit, aspect="place")),
}
"""Every score by name: its class, and how it is fitted."""
DOUBTS: dict[str, tuple[type[Score], Fit]] = {
    measure: (Doubt, partial(Doubt.fit, measure=measure)) for measure in MEASURES
}
"""Scores that cost something; only on demand."""


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores by name, fitted to known cases.

    Attributes:
        scores: by name, in the vector's order.
    """

    scores: Mapping[str, Score]

    @classmethod
    def fit(cls, observations: Sequence[Observation], names: Sequence[str] | None = None) -> Self:
        """Fit scores to known cases.

        Args:
            observations: of the cases; their order does not matter.
            names: which scores; None takes all of ``RECIPES``.

        Raises:
            ValueError: for no cases, an unknown name, or cases of different models.
        """
        chosen = list(RECIPES) if names is None else names
        return cls({name: _recipe(name)[1](observations) for name in chosen})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores, in the vector's order."""
        return tuple(self.scores)

    def __call__(self, observation: Observation) -> NDArray[np.float64]:
        """Return all scores of a case, (scores,): larger is stranger, NaN where there is none.

        Raises:
            ValueError: for a case of another model.
        """
        return np.array([score.score(observation) for score in self.scores.values()])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes, under names like ``histogram.raw/edges_0``."""
        arrays: dict[str, NDArray[Any]] = {"names": np.array(self.names, dtype=np.str_)}
        for name, score in self.scores.items():
            arrays |= nested(name, score.to_arrays())
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``.

        Raises:
            ValueError: for the name of a score that is not known.
        """
        names = arrays["names"].tolist()
        return cls({name: _recipe(name)[0].from_arrays(unnested(name, arrays)) for name in names})

    def save(self, path: Path | str) -> None:
        """Write everything into one ``.npz``, without pickled objects."""
        arrays: dict[str, Any] = self.to_arrays()
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what ``save`` wrote: the very same scores.

        Raises:
            ValueError: for a file of other contents.
        """
        with np.load(path, allow_pickle=False) as file:
            if "names" not in file:
                raise ValueError(f"{Path(path).name} holds no scores: it has no list of names")
            return cls.from_arrays(dict(file))


def fit_with_doubts(observations: Sequence[Observation]) -> Scorer:
    """Fit all scores, and those ``DOUBTS`` that were measured."""
    return Scorer.fit(observations, [*RECIPES, *measured(observations)])


def _recipe(name: str) -> tuple[type[Score], Fit]:
    known = RECIPES | DOUBTS
    if name not in known:
        raise ValueError(f"the score {name!r} is not known; expected one of {', '.join(known)}")
    return known[name]
