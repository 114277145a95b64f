"""How weights change over a training: pure functions of the epoch, so that a resumed training goes on."""

from __future__ import annotations

import math
from fractions import Fraction


def check_epoch(epoch: int, num_epochs: int) -> None:
    """Check that an epoch, counted from 0, lies within a training.

    Raises:
        ValueError: if it does not.
    """
    if num_epochs < 1 or not 0 <= epoch < num_epochs:
        raise ValueError(
            f"epoch {epoch} of {num_epochs} does not exist: epochs count from 0 to num_epochs - 1"
        )


def linear(epoch: int, num_epochs: int) -> float:
    """Return a weight that falls from 1 in the first epoch to 0 in the last; 1 where there is only one.

    Example:
        >>> [linear(epoch, 5) for epoch in range(5)]
        [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    return 1.0 if num_epochs == 1 else 1 - epoch / (num_epochs - 1)


def finetune(epoch: int, num_epochs: int, *, fraction: float) -> float:
    """Return 1 for the first ``fraction`` of the epochs, then 0.

    Example:
        >>> [finetune(epoch, 5, fraction=0.6) for epoch in range(5)]
        [1.0, 1.0, 1.0, 0.0, 0.0]
    """
    return 1.0 if epoch < _exact(fraction) * num_epochs else 0.0


def warm_up_epochs(share: float, num_epochs: int) -> int:
    """Return how many epochs a training spends on the loss that it begins with: a share, rounded down.

    So the loss itself has its turn in the shortest training, unless the share is 1.

    Example:
        >>> warm_up_epochs(0.5, 1000), warm_up_epochs(0.3, 10), warm_up_epochs(0.5, 1), warm_up_epochs(1, 7)
        (500, 3, 0, 7)
    """
    return math.floor(_exact(share) * num_epochs)


def _exact(share: float) -> Fraction:
    """Take a share as it is written: 0.55 of 100 is 55, though 0.55 * 100 is a little more."""
    return Fraction(repr(float(share)))


def rebalance(epoch: int) -> float:
    """Return a weight of 1 in the first epoch, 0.01 less each epoch, at least 0.01.

    Source: Kervadec et al., Boundary loss, https://doi.org/10.1016/j.media.2020.101851.

    Example:
        >>> rebalance(0), rebalance(25), rebalance(500)
        (1.0, 0.75, 0.01)
    """
    return max(0.01, 1 - 0.01 * epoch)


def rebalance_relative(epoch: int, num_epochs: int) -> float:
    """Return a weight that falls from 1 in the first epoch to 0.01 in the last.

    Example:
        >>> rebalance_relative(0, 150), round(rebalance_relative(149, 150), 2)
        (1.0, 0.01)
    """
    return 0.01 + 0.99 * linear(epoch, num_epochs)


def increase(epoch: int) -> float:
    """Return a weight of 0.01 in the first epoch, 0.01 more each epoch, at most 1.

    Example:
        >>> increase(0), increase(19), increase(500)
        (0.01, 0.2, 1.0)
    """
    return min(1.0, 0.01 * (epoch + 1))


def warm_up(epoch: int, epochs: int) -> float:
    """Return a weight that rises from 0 in the first epoch to 1 after ``epochs`` epochs.

    Example:
        >>> warm_up(0, 50), warm_up(25, 50), warm_up(99, 50), warm_up(0, 0)
        (0.0, 0.5, 1.0, 1.0)
    """
    return min(1.0, epoch / epochs) if epochs else 1.0
