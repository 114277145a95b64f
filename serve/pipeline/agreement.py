"""How far several passes over the same tiles agree, and how sure the network is: a few sums, no volumes kept.

Of the passes that mark a label in a voxel only the number n counts. Over all pairs of M passes, the voxels
that both mark are sum n (n - 1) / 2, and those that each marks sum to (M - 1) sum n. So the pairwise Dice,
pooled over all pairs and tiles, is

    sum n (n - 1) / ((M - 1) sum n),

and 1 where no pass marks anything. Disagreement of this kind told failures best in Zenk et al.,
https://arxiv.org/abs/2406.03323.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.schema import Head

from .ensemble import to_probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import ModelDescription

    Floats = NDArray[np.float64]

MIRRORS, FOLDS, ENTROPY = "disagreement.mirrors", "disagreement.folds", "entropy"
MEASURES = (MIRRORS, FOLDS, ENTROPY)
"""Names of the measures, each from 0 to 1: larger is less sure."""

_VOXELS = 2**18  # whose probabilities are held at once


@dataclass(frozen=True)
class Marking:
    """Which heads are labels, and when one of them marks a voxel.

    Attributes:
        head: of the model: the largest logit marks under softmax; of regions each that is above 0.
        channels: of the labels; neither background nor ignored voxels have one.
    """

    head: Head
    channels: tuple[int, ...]

    @classmethod
    def of(cls, description: ModelDescription) -> Marking:
        """Take it from a model."""
        return cls(description.head, tuple(label.channel for label in description.labels))

    def marked(self, logits: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each label is marked, (labels, ...), by logits (heads, ...).

        Example:
            >>> logits = np.array([[2.0, 0.0], [1.0, 3.0]])
            >>> Marking(Head.SOFTMAX, (1,)).marked(logits).tolist()
            [[False, True]]
            >>> Marking(Head.SIGMOID, (0, 1)).marked(logits).tolist()
            [[True, False], [True, True]]
        """
        if self.head is Head.SIGMOID:
            return np.asarray(logits[list(self.channels)] > 0)
        best = logits.argmax(axis=0)
        return np.stack([best == channel for channel in self.channels])


@dataclass
class Agreement:
    """Sums behind the pairwise Dice of the passes, over as many tiles as there are.

    Attributes:
        marking: what a pass marks.
        marks: (labels,) sum of n, each voxel by its weight.
        pairs: (labels,) sum of n (n - 1) / (M - 1).

    Example:
        >>> agreement = Agreement(Marking(Head.SIGMOID, (0,)))
        >>> agreement.add([np.array([[1.0, 1.0, -1.0]]), np.array([[1.0, -1.0, -1.0]])])
        >>> round(agreement.disagreement, 3)  # Dice of 2 voxels and 1
        0.333
    """

    marking: Marking
    marks: Floats = field(init=False)
    pairs: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.marks, self.pairs = np.zeros((2, len(self.marking.channels)))

    def add(self, passes: Sequence[NDArray[Any]], weights: NDArray[Any] | None = None) -> None:
        """Add a tile that several passes saw: their logits (heads, ...), all turned back."""
        counts = Counts(self.marking)
        for logits in passes:
            counts.see(logits)
        self.count(counts, weights)

    def count(self, counts: Counts, weights: NDArray[Any] | None = None) -> None:
        """Add a tile, or a volume, that was seen by now.

        Args:
            counts: of its passes, at least two.
            weights: of its voxels; None takes all alike.
        """
        marked = counts.marked
        for label, n in enumerate(marked):
            values = n[n > 0].astype(np.float64)
            own = np.ones_like(values) if weights is None else weights[n > 0].astype(np.float64)
            self.marks[label] += float(own @ values)
            self.pairs[label] += float(own @ (values * (values - 1))) / (counts.passes - 1)

    @property
    def disagreement(self) -> float:
        """1 - pairwise Dice, mean over the labels: 0 where no pass marks anything."""
        shares = np.divide(self.pairs, self.marks, out=np.ones_like(self.pairs), where=self.marks > 0)
        return float(np.mean(1 - shares))


class Counts:
    """How many passes mark each label in each voxel.

    Attributes:
        passes: how many there were.
    """

    def __init__(self, marking: Marking) -> None:
        self._marking = marking
        self._marked: NDArray[np.uint8] | None = None
        self.passes = 0

    def see(self, logits: NDArray[Any]) -> None:
        """Count one more pass, by its logits (heads, ...); they are not kept."""
        marked = self._marking.marked(logits)
        if self._marked is None:
            self._marked = marked.astype(np.uint8)
        else:
            self._marked += marked
        self.passes += 1

    @property
    def marked(self) -> NDArray[np.uint8]:
        """Number of passes, (labels, ...)."""
        assert self._marked is not None, "a pass was seen"
        return self._marked


def marked_entropy(logits: NDArray[Any], marking: Marking) -> float | None:
    """Mean entropy, as a share of the largest possible, of the voxels that hold any label; None without any.

    Of regions the mean over regions counts.

    Args:
        logits: (heads, z, y, x).
        marking: of the model.
    """
    step = max(1, _VOXELS // max(1, int(np.prod(logits.shape[2:]))))
    total, voxels = 0.0, 0
    for start in range(0, logits.shape[1], step):
        part = logits[:, start : start + step]
        inside = marking.marked(part).any(axis=0)
        if inside.any():
            own = to_probabilities(part[:, inside].astype(np.float32), marking.head)
            shares = entropy(own, marking.head)
            total += float((shares.mean(axis=0) if marking.head is Head.SIGMOID else shares).sum())
            voxels += int(inside.sum())
    return total / voxels if voxels else None


def entropy(probabilities: NDArray[np.float32], head: Head) -> NDArray[np.float32]:
    """Entropy as a share of the largest possible, of probabilities (heads, ...).

    Returns:
        Of labels (...); of regions each one's (heads, ...).

    Example:
        >>> half = np.array([[0.5, 1.0], [0.5, 0.0]], np.float32)
        >>> entropy(half, Head.SOFTMAX).tolist(), entropy(half, Head.SIGMOID).tolist()
        ([1.0, 0.0], [[1.0, 0.0], [1.0, 0.0]])
    """
    if head is Head.SIGMOID:
        return np.asarray((_terms(probabilities) + _terms(1 - probabilities)) / np.float32(np.log(2)))
    return np.asarray(_terms(probabilities).sum(axis=0) / np.float32(np.log(len(probabilities))))


def _terms(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    tiny = np.finfo(np.float32).tiny
    return np.asarray(-probabilities * np.log(np.maximum(probabilities, tiny)))
