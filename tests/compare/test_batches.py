from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.noise import gaussian_blur
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import OneOfTransform, RandomTransform

from nnunet_losses.compare.batches import SeededBatches, seed_all
from nnunet_losses.trainers.worker_geometry import GeometryTransform


class Loader:
    """Draws as nnU-Net's does: from the global generators."""

    transforms = None

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


class Blurred:
    """Blurs as nnU-Net's transforms do, below all that may lie around it."""

    def __init__(self) -> None:
        blur = gaussian_blur.GaussianBlurTransform(blur_sigma=(0.5, 1.0), benchmark=True)
        inner = ComposeTransforms([RandomTransform(blur), OneOfTransform([blur])])
        self.transforms = GeometryTransform(ComposeTransforms([inner]), outputs=(), targets=1)

    def generate_train_batch(self) -> Any:
        return self.transforms(image=torch.rand(1, 16, 32), segmentation=torch.zeros(1, 16, 32))["image"]


@pytest.mark.parametrize("faster", ["the convolution", "the Fourier transform"])
def test_no_batch_depends_on_what_is_faster(faster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def batches() -> torch.Tensor:
        return torch.stack(list(SeededBatches(Blurred(), seed=0, stream=0, numbers=range(4), workers=0)))

    expected = batches()
    blur = gaussian_blur.blur_dimension
    clock = 0

    def slow(*arguments: Any, force_use_fft: bool | None = None) -> Any:
        nonlocal clock
        clock += 1 if force_use_fft is (faster == "the Fourier transform") else 2
        return blur(*arguments, force_use_fft=force_use_fft)

    monkeypatch.setattr(gaussian_blur, "blur_dimension", slow)
    monkeypatch.setattr(gaussian_blur, "time", lambda: clock)
    assert torch.equal(batches(), expected)


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
