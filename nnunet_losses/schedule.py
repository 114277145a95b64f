"""How weights change over a training: pure functions of the epoch, so that a resumed training goes on."""

from __future__ import annotations


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
    return 1.0 if epoch < fraction * num_epochs else 0.0
