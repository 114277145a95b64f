from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_losses.compare.batches import SeededBatches, seed_all


class Loader:
    """Draws as nnU-Net's does: from the global generators."""

    def generate_train_batch(self) -> dict[str, Any]:
        return {"data": torch.rand(2), "keys": np.random.random(2), "python": random.random()}  # noqa: NPY002 - as nnU-Net draws


def drawn(numbers: range, *, workers: int = 0, seed: int = 0, stream: int = 0) -> list[tuple[float, ...]]:
    batches = SeededBatches(Loader(), seed=seed, stream=stream, numbers=numbers, workers=workers)
    return [(*batch["data"].tolist(), *batch["keys"], batch["python"]) for batch in batches]


def test_batches_follow_from_seed_stream_and_number() -> None:
    every = drawn(range(6))
    assert len(set(every)) == 6
    assert drawn(range(4, 6)) == every[4:]
    assert not set(drawn(range(6), seed=1)) & set(every)
    assert not set(drawn(range(6), stream=1)) & set(every)


def test_worker_processes_change_nothing() -> None:
    assert drawn(range(5), workers=2) == drawn(range(5))


def test_drawing_leaves_the_generators_of_the_training_alone() -> None:
    seed_all(3)
    before = torch.rand(1), np.random.random(), random.random()  # noqa: NPY002 - as nnU-Net draws
    seed_all(3)
    drawn(range(3))
    assert before == (torch.rand(1), np.random.random(), random.random())  # noqa: NPY002 - likewise


@pytest.mark.parametrize("key", [(0, 1), (1, 0), (0, 0, 1)])
def test_keys_differ(key: tuple[int, ...]) -> None:
    seed_all(0, 0)
    first = random.random()
    seed_all(*key)
    assert random.random() != first
