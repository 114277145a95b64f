"""Four methods of the literature, written anew, with their grids of settings fixed before any result.

Each has the setting of its paper, as far as that is known, and a grid of others from which one is chosen in
the same way, and on the same damaged training cases, as our own designs are.

- ``histogram``: intensity histogram, principal components, Mahalanobis distance (IHF: Vasiliuk et al. 2023,
  https://doi.org/10.3390/jimaging9090191).
- ``one layer``: Mahalanobis distance of one encoder layer's pooled features (González et al. 2022,
  https://arxiv.org/abs/2208.03217), with scikit-learn's empirical covariance, or a shrunk one.
- ``maximum softmax`` probability (Hendrycks and Gimpel 2017, https://arxiv.org/abs/1610.02136) and
  ``entropy``, averaged over voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import ndimage, special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.safety.scores.observation import Observation

    Floats = NDArray[np.float64]

TEMPERATURES = (1.0, 10.0, 1000.0)
REGIONS = ("image", "foreground", "inner")  # inner: away from the border between labels
BORDER = 2  # voxels


@dataclass(frozen=True, eq=False)
class Seen:
    """What the baselines look at.

    Attributes:
        observation: as our scores get it.
        confidence: 1 - largest probability, by (temperature, region).
        entropy: likewise.
    """

    observation: Observation
    confidence: dict[tuple[float, str], float]
    entropy: dict[tuple[float, str], float]


class Baseline(Protocol):
    """A method with its setting."""

    def fit(self, cases: Sequence[Seen]) -> None:
        """Fit to known cases."""

    def score(self, case: Seen) -> float:
        """Larger is stranger."""


def uncertainties(logits: NDArray[Any]) -> tuple[dict[Any, float], dict[Any, float]]:
    """1 - largest probability, and entropy: means over each region at each temperature.

    Args:
        logits: (heads, z, y, x) of a softmax.

    Returns:
        Two dictionaries by (temperature, region). An empty region counts as the whole image.
    """
    values = np.asarray(logits, np.float64)
    regions = _regions(values.argmax(axis=0))
    confidence, entropy = {}, {}
    for temperature in TEMPERATURES:
        logarithms = special.log_softmax(values / temperature, axis=0)
        probabilities = np.exp(logarithms)
        doubt, disorder = 1 - probabilities.max(axis=0), -(probabilities * logarithms).sum(axis=0)
        for name, region in regions.items():
            confidence[temperature, name] = float(doubt[region].mean())
            entropy[temperature, name] = float(disorder[region].mean())
    return confidence, entropy


def _regions(labels: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    size = [2 * BORDER + 1 if length > 1 else 1 for length in labels.shape]
    inner = ndimage.maximum_filter(labels, size) == ndimage.minimum_filter(labels, size)
    regions = {"image": np.ones(labels.shape, bool), "foreground": labels > 0, "inner": inner}
    return {name: region if region.any() else regions["image"] for name, region in regions.items()}


@dataclass(eq=False)
class HistogramMahalanobis:
    """Counts in even bins over the training range; principal components; Mahalanobis distance in them."""

    place: str = "preprocessed"
    bins: int = 150
    explained: float = 0.99

    def fit(self, cases: Sequence[Seen]) -> None:
        values = np.stack([getattr(case.observation, self.place) for case in cases])
        low, high = values.min(axis=(0, 2)), values.max(axis=(0, 2))
        self._edges = [np.linspace(a, b, self.bins + 1) for a, b in zip(low, high, strict=True)]
        vectors = np.stack([self._vector(case) for case in cases])
        self._mean = vectors.mean(axis=0)
        _, singular, axes = np.linalg.svd(vectors - self._mean, full_matrices=False)
        shares = np.cumsum(singular**2) / np.sum(singular**2)
        count = int(np.searchsorted(shares, self.explained)) + 1
        self._axes, self._scale = axes[:count], singular[:count] / np.sqrt(len(cases))

    def score(self, case: Seen) -> float:
        return float(np.linalg.norm(self._axes @ (self._vector(case) - self._mean) / self._scale))

    def _vector(self, case: Seen) -> Floats:
        channels = zip(getattr(case.observation, self.place), self._edges, strict=True)
        # as numpy.clip does for images beyond the training range: they are counted in the outer bins
        return np.concatenate(
            [
                np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / len(values)
                for values, edges in channels
            ]
        )


@dataclass(eq=False)
class OneLayerMahalanobis:
    """Mahalanobis distance of one stage's pooled features; -1 is the deepest stage.

    ``covariance`` is scikit-learn's ``EmpiricalCovariance`` (a pseudo-inverse) or ``LedoitWolf``.
    """

    stage: int = -1
    moments: tuple[int, ...] = (0,)  # of convolution mean and deviation, output mean and deviation
    covariance: str = "EmpiricalCovariance"

    def fit(self, cases: Sequence[Seen]) -> None:
        from sklearn import covariance

        estimator = getattr(covariance, self.covariance)()
        self._fitted = estimator.fit(np.stack([self._vector(case) for case in cases]))

    def score(self, case: Seen) -> float:
        return float(self._fitted.mahalanobis(self._vector(case)[None])[0])

    def _vector(self, case: Seen) -> Floats:
        features = case.observation.features
        assert features is not None, "the bundle has features"
        stage = features[sorted(features)[self.stage]]
        return np.concatenate([np.split(stage, 4)[moment] for moment in self.moments])


@dataclass(eq=False)
class MeanUncertainty:
    """One number of the probabilities; nothing is fitted."""

    kind: str
    temperature: float = 1.0
    region: str = "image"

    def fit(self, cases: Sequence[Seen]) -> None:
        """Nothing to fit."""

    def score(self, case: Seen) -> float:
        return float(getattr(case, self.kind)[self.temperature, self.region])


def grid(name: str, stages: int) -> list[Baseline]:
    """Settings of one method; the first one is the paper's."""
    if name == "histogram":
        settings = product(("preprocessed", "raw"), (150, 50, 300), (0.99, 0.9, 0.9999))
        return [HistogramMahalanobis(*setting) for setting in settings]
    if name == "one layer":
        moments = ((0,), (1,), (2,), (3,), (0, 1), (2, 3), (0, 1, 2, 3))
        return [
            OneLayerMahalanobis(-stage, which, covariance)
            for stage in range(1, stages + 1)
            for which in moments
            for covariance in ("EmpiricalCovariance", "LedoitWolf")
        ]
    kind = {"maximum softmax": "confidence", "entropy": "entropy"}[name]
    return [MeanUncertainty(kind, *setting) for setting in product(TEMPERATURES, REGIONS)]


BASELINES = ("histogram", "one layer", "maximum softmax", "entropy")
