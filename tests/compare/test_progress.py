"""How long the rest takes, at the present pace."""

from __future__ import annotations

import math

import pytest

from nnunet_losses.compare.progress import State, time_left
from nnunet_losses.compare.results import Progress


def state(words: str, rank: int, *, epoch: int = 0, seconds: float = 0.0) -> State:
    progress = Progress(stage=words, epoch=epoch, epochs=10, seconds=seconds)
    return State(words, progress if rank != 1 else None, done=rank == 3, rank=rank)


def test_nothing_is_known_before_an_epoch_has_ended() -> None:
    assert math.isnan(time_left([state("waiting", 1), state("training", 0)]))


def test_finished_cells_tell_the_pace_of_those_that_wait() -> None:
    done, waiting = state("done", 3, epoch=10, seconds=2.0), state("waiting", 1)
    assert time_left([done, waiting, waiting]) == pytest.approx(2 * 10 * 2.0)


def test_cells_that_run_together_share_the_rest() -> None:
    running = [state("training", 0, epoch=5, seconds=4.0) for _ in range(2)]
    assert time_left([*running, state("waiting", 1)]) == pytest.approx((5 + 5 + 10) * 4.0 / 2)


def test_a_failed_cell_takes_no_time() -> None:
    assert time_left([state("failed", 2), state("done", 3, epoch=10, seconds=1.0)]) == 0.0
