"""From predicted masks and probabilities to figures, case by case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.metrics.case import Settings as MetricSettings
from nnunet_losses.serve.metrics.case import evaluate_case
from nnunet_losses.serve.metrics.labels import LabelSet
from nnunet_losses.serve.metrics.pairs import Pair, Problem, read_pair

from .records import as_record
from .results import SetResult
from .sets import reader_named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from .sets import Case, ImageSet

_SMALLEST = 1e-300


class ScoringError(RuntimeError):
    """A prediction that cannot be judged."""


def score_set(
    images: ImageSet, masks: Path, description: Mapping[str, Any], *, tolerance: float
) -> SetResult:
    """Judge the predictions of a set.

    Args:
        images: the set.
        masks: folder with ``CASE.png`` and nnU-Net's probabilities ``CASE.npz``.
        description: ``dataset.json``.
        tolerance: of NSD.

    Raises:
        ScoringError: a prediction cannot be read, or is not finite.
    """
    scorer = _Scorer(masks, description, tolerance)
    strange = {case.name: scorer.strangeness(case) for case in images.cases}
    cases = tuple(scorer.record(case) for case in images.cases if case.reference is not None)
    return SetResult(role=images.role, cases=cases, strangeness=strange)


def strangeness(probabilities: NDArray[np.floating], *, regions: bool = False) -> float:
    """How unsure the network is: entropy of the probabilities, in nats, mean over voxels.

    Args:
        probabilities: (channels, *spatial), 0 to 1.
        regions: each channel answers a question of its own, and has an entropy of its own.

    Example:
        >>> round(strangeness(np.array([[1.0, 0.5], [0.0, 0.5]])), 3)  # half of ln 2
        0.347
        >>> round(strangeness(np.array([[1.0, 0.5]]), regions=True), 3)
        0.347
    """
    values = np.clip(probabilities.astype(np.float64), 0, 1)
    values = np.concatenate([values, 1 - values]) if regions else values
    return float(-(values * np.log(np.maximum(values, _SMALLEST))).sum(axis=0).mean())


def presence_score(probability: NDArray[np.floating], others: NDArray[np.floating]) -> float:
    """How sure the network is that a label is present: largest logit margin of any voxel.

    Of the stored probabilities those of the other channels keep what a probability near 1 has lost: unlike
    the largest probability, the margin has no ties at 1.

    Args:
        probability: (*spatial) of the label.
        others: (*spatial) of all other channels together.
    """
    margin = np.log(np.maximum(probability, _SMALLEST)) - np.log(np.maximum(others, _SMALLEST))
    return float(margin.max())


class _Scorer:
    def __init__(self, masks: Path, description: Mapping[str, Any], tolerance: float) -> None:
        self._masks = masks
        self._ending = description["file_ending"]
        self._labels = LabelSet.of_dataset(description)
        self._regions = any(label.region for label in self._labels.labels)
        self._reader = reader_named(description)
        self._settings = MetricSettings(tolerance=tolerance)

    def probabilities(self, case: Case) -> NDArray[np.float32]:
        """Of all channels (channels, *spatial)."""
        with np.load(self._masks / f"{case.name}.npz", allow_pickle=False) as file:
            stored: NDArray[np.float32] = file["probabilities"]
        if not bool(np.isfinite(stored).all()):
            raise ScoringError(f"The probabilities of {case.name} are not finite: the training diverged.")
        return stored

    def strangeness(self, case: Case) -> float:
        """How unsure the network is of a case."""
        return strangeness(self.probabilities(case), regions=self._regions)

    def record(self, case: Case) -> dict[str, Any]:
        """Judge one case."""
        assert case.reference is not None, "only cases with a reference are judged"
        pair = Pair(case.name, self._masks / f"{case.name}{self._ending}", case.reference)
        masks = read_pair(pair, self._reader)
        if isinstance(masks, Problem):
            raise ScoringError(f"{case.name}: {masks.detail}")
        by_label = self._by_label(self.probabilities(case), masks.reference.shape)
        scores = {name: presence_score(*both) for name, both in by_label.items()}
        result = evaluate_case(
            case.name,
            masks.prediction,
            masks.reference,
            spacing=masks.spacing,
            labels=self._labels,
            settings=self._settings,
            scores=scores,
            probabilities={name: both[0] for name, both in by_label.items()},
        )
        return as_record(result)

    def _by_label(
        self, stored: NDArray[np.float32], shape: tuple[int, ...]
    ) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Probability of each label, and of everything else; regions are channels of their own."""
        by_channel = np.clip(stored.reshape(stored.shape[0], *shape).astype(np.float64), 0, 1)
        labels = self._labels.labels
        found = {}
        for index, label in enumerate(labels):
            if self._regions:
                found[label.name] = by_channel[index], 1 - by_channel[index]
            else:
                own = by_channel[label.members[0]]
                found[label.name] = own, np.delete(by_channel, label.members[0], axis=0).sum(axis=0)
        return found
