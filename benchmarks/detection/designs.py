"""Ways to score a case that compete: ours with other parts, and the baselines with other settings.

The shipped design is one of them. It was chosen, as the baselines' settings were, on damaged training cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nnunet_losses.serve.safety.conformal import combined
from nnunet_losses.serve.safety.scores.neighbours import LedoitWolf
from nnunet_losses.serve.safety.scores.scorer import RECIPES, Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nnunet_losses.serve.safety.scores.observation import Observation
    from nnunet_losses.serve.safety.scores.score import Score

    Floats = NDArray[np.float64]

OTHERS = {
    "features.global LW": partial(LedoitWolf.fit, pooling="features"),
    "features.foreground LW": partial(LedoitWolf.fit, pooling="foreground_features"),
}


@dataclass(frozen=True)
class Design:
    """Which scores make the vector.

    Attributes:
        name: for the tables.
        scores: names, of ``RECIPES`` or ``OTHERS``.
    """

    name: str
    scores: tuple[str, ...]

    def fit(self, cases: Sequence[Observation]) -> Vector:
        """Fit to known cases."""
        fits: Mapping[str, Callable[[Sequence[Observation]], Score]] = {
            **{name: fit for name, (_, fit) in RECIPES.items()},
            **OTHERS,
        }
        return Vector(Scorer({name: fits[name](cases) for name in self.scores}))


@dataclass(frozen=True, eq=False)
class Vector:
    """A fitted design."""

    scorer: Scorer

    def __call__(self, case: Observation) -> Floats:
        return self.scorer(case)


def statistic(case: Floats, pool: Floats) -> float:
    """The statistic behind the verdict."""
    return combined(case, pool).statistic


def _without(*left_out: str) -> tuple[str, ...]:
    return tuple(name for name in RECIPES if not name.startswith(left_out))


def _instead(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name} LW" if f"{name} LW" in OTHERS else name for name in names)


SHIPPED = Design("shipped", tuple(RECIPES))
DESIGNS = (
    SHIPPED,
    Design("without texture", _without("texture")),
    Design("without features", _without("features")),
    Design("without histograms", _without("histogram")),
    Design("without prediction", _without("prediction")),
    Design("features by Ledoit-Wolf", _instead(tuple(RECIPES))),
    Design("features both ways", (*RECIPES, *OTHERS)),
)
