"""Intensity histograms: another unit, modality, contrast or field of view, without any network.

After IHF: Vasiliuk et al., Limitations of Out-of-Distribution Detection in 3D Medical Image Segmentation,
2023, https://doi.org/10.3390/jimaging9090191, and Frolova et al., https://arxiv.org/abs/2212.06506: a
histogram, principal components, Mahalanobis distance. Ours has bins at the quantiles of the known cases,
logarithms of the counts, and keeps what the components leave out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from .gaussian import Gaussian
from .observation import LEVELS
from .score import nested, require_cases, unnested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .observation import Observation
    from .score import Arrays

    Floats = NDArray[np.float64]
    Place = Literal["raw", "preprocessed"]

BINS = 64
EXPLAINED = 0.99  # share of the variance in the principal components
EXPECTED = LEVELS / BINS  # count of a bin on average
# Smallest variance of a log-count: counting gives 64 +- 8, and the logarithm's slope there is 1 / 128.
NOISE = EXPECTED / (2 * EXPECTED) ** 2


@dataclass(frozen=True, eq=False)
class Histogram:
    """Mahalanobis distance of a case's log-counts.

    Attributes:
        place: whose intensities: of the file (``raw``), or of what the network gets (``preprocessed``).
        edges: of each channel, (bins + 1,) ascending; what lies outside is counted, too.
        gaussian: of the log-counts of all channels; None where no known case had them.
    """

    place: Place
    edges: tuple[Floats, ...]
    gaussian: Gaussian | None

    @classmethod
    def fit(cls, observations: Sequence[Observation], *, place: Place) -> Self:
        """Fit to known cases.

        Raises:
            ValueError: for no cases, or such as differ in their number of channels.
        """
        require_cases(observations)
        known = [values for case in observations if (values := getattr(case, place)) is not None]
        if not known:
            return cls(place, (), None)
        counts = sorted({len(values) for values in known})
        if len(counts) > 1:
            raise ValueError(f"the cases have {counts} channels; expected as many in each")
        edges = tuple(quantile_edges(np.stack(channel)) for channel in zip(*known, strict=True))
        vectors = np.stack([log_counts(values, edges) for values in known])
        return cls(place, edges, Gaussian.principal(vectors, share=EXPLAINED, noise=NOISE))

    def score(self, observation: Observation) -> float:
        """Distance of the case's histogram.

        Raises:
            ValueError: for another number of channels.
        """
        values = getattr(observation, self.place)
        if values is None or self.gaussian is None:
            return float("nan")
        if len(values) != len(self.edges):
            raise ValueError(f"the case has {len(values)} channels; the known cases have {len(self.edges)}")
        return self.gaussian.distance(log_counts(values, self.edges))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what ``from_arrays`` takes."""
        edges = {f"edges_{index}": values for index, values in enumerate(self.edges)}
        fitted = {} if self.gaussian is None else nested("gaussian", self.gaussian.to_arrays())
        return {"place": np.array(self.place), **edges, **fitted}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Self:
        """Rebuild from ``to_arrays``."""
        place: Place = "raw" if str(arrays["place"]) == "raw" else "preprocessed"
        count = sum(name.startswith("edges_") for name in arrays)
        fitted = unnested("gaussian", arrays)
        edges = tuple(arrays[f"edges_{index}"] for index in range(count))
        return cls(place, edges, Gaussian.from_arrays(fitted) if fitted else None)


def quantile_edges(values: Floats) -> Floats:
    """Edges between which the known cases have equally many voxels, as far as their values differ.

    Example:
        >>> edges = quantile_edges(np.array([[0.0, 0.0, 0.0, 5.0]]))  # most of it background
        >>> edges.round(6).tolist(), bool(edges[-1] > 5)
        ([0.0, 5.0, 5.0], True)
    """
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1), method="nearest"))
    # bins hold their left edge: the largest known value would be outside
    return np.append(edges, np.nextafter(edges[-1], np.inf))


def log_counts(values: Floats, edges: Sequence[Floats]) -> Floats:
    """Logarithm of 1 + count / expected count of each bin, below and above all, channel after channel.

    A logarithm of the bare counts would make a dozen values where none were before as strange as a thousand:
    bright specks in an image of the usual kind.

    Args:
        values: (channels, values), ascending.
        edges: of each channel.

    Example:
        >>> values, edges = np.array([[0.0, 1.0, 1.0, 7.0]]), np.array([1.0, 2.0, 3.0])
        >>> (EXPECTED * np.expm1(log_counts(values, [edges]))).round().tolist()
        [1.0, 2.0, 0.0, 1.0]
    """
    counts = []
    for channel, borders in zip(values, edges, strict=True):
        below = np.searchsorted(channel, borders, side="left")
        counts.append(np.diff(below, prepend=0, append=channel.size))
    logarithms: Floats = np.log1p(np.concatenate(counts) / EXPECTED)
    return logarithms
