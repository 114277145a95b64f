"""Schedules as pure functions of the epoch, counted from 0: right on every rank and after every resume."""

from __future__ import annotations


def rebalance(epoch: int) -> float:
    """Weight of the regional loss: 1 in the first epoch, 0.01 less each epoch, at least 0.01.

    Source: Kervadec et al., Boundary loss, https://doi.org/10.1016/j.media.2020.101851.

    Example:
        >>> rebalance(0), rebalance(25), rebalance(500)
        (1.0, 0.75, 0.01)
    """
    return max(0.01, 1 - 0.01 * epoch)


def rebalance_relative(epoch: int, num_epochs: int) -> float:
    """Weight of the regional loss: from 1 in the first epoch to 0.01 in the last.

    Example:
        >>> rebalance_relative(0, 150), round(rebalance_relative(149, 150), 2)
        (1.0, 0.01)
    """
    return 1 - 0.99 * progress(epoch, num_epochs)


def increase(epoch: int) -> float:
    """Weight of the boundary loss: 0.01 in the first epoch, 0.01 more each epoch, at most 1.

    Example:
        >>> increase(0), increase(19), increase(500)
        (0.01, 0.2, 1.0)
    """
    return min(1.0, 0.01 * (epoch + 1))


def warm_up(epoch: int, epochs: int) -> float:
    """Rise from 0 in the first epoch to 1 after ``epochs`` epochs.

    Example:
        >>> warm_up(0, 50), warm_up(25, 50), warm_up(99, 50), warm_up(0, 0)
        (0.0, 0.5, 1.0, 1.0)
    """
    return min(1.0, epoch / epochs) if epochs else 1.0


def progress(epoch: int, num_epochs: int) -> float:
    """Share of the training that lies behind: 0 in the first epoch, 1 in the last; 0 if there is only one.

    Example:
        >>> progress(0, 11), progress(5, 11), progress(10, 11), progress(0, 1)
        (0.0, 0.5, 1.0, 0.0)
    """
    return min(1.0, epoch / (num_epochs - 1)) if num_epochs > 1 else 0.0
