"""Batches that depend on nothing but a seed and their number, so that a training can stop anywhere."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from torch.utils.data import DataLoader, Dataset

from nnunet_losses.trainers.worker_geometry import GeometryTransform

if TYPE_CHECKING:
    from collections.abc import Iterator


class SeededBatches:
    """The batches of one of nnU-Net's data loaders from a number on, in order.

    Every batch is drawn and augmented with random generators seeded by ``(seed, stream, number)``. A training
    that resumes at a later number sees the very batches that it would have seen, and so does one with more
    worker processes. PyTorch's ``DataLoader`` runs those.

    Args:
        loader: nnU-Net's, with its transforms, which are told not to measure their speed.
        seed: of the training.
        stream: tells the training's batches from the validation's.
        numbers: of the batches that will be asked for.
        workers: processes that make batches ahead; 0 makes them in this process.
    """

    def __init__(self, loader: Any, *, seed: int, stream: int, numbers: range, workers: int) -> None:
        leave_the_clock_alone(loader.transforms)
        self._batches = iter(
            DataLoader(
                _Numbered(loader, seed, stream),
                batch_size=None,
                sampler=numbers,
                num_workers=workers,
                collate_fn=_as_it_is,
                generator=torch.Generator(),  # else PyTorch would draw from the generator of the training
            )
        )

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Go on where it stopped."""
        return self

    def __next__(self) -> dict[str, Any]:
        """Give the next batch."""
        batch: dict[str, Any] = next(self._batches)
        return batch


class _Numbered(Dataset[dict[str, Any]]):
    """Batches by number."""

    def __init__(self, loader: Any, seed: int, stream: int) -> None:
        self._loader = loader
        self._key = (seed, stream)

    def __getitem__(self, number: int) -> dict[str, Any]:
        with seeded(*self._key, number):
            batch: dict[str, Any] = self._loader.generate_train_batch()
        return batch


def leave_the_clock_alone(transform: Any) -> None:
    """Let neither a transform nor those inside it choose by the clock how to compute.

    nnU-Net's Gaussian blur tries a convolution and a Fourier transform, and keeps what took less time: the
    same seed then gives other last digits on another machine, in another process, and after a resumption.
    """
    if isinstance(transform, list | tuple):
        for part in transform:
            leave_the_clock_alone(part)
    elif isinstance(transform, BasicTransform | GeometryTransform):
        if isinstance(transform, GaussianBlurTransform):
            transform.benchmark = False
        leave_the_clock_alone(list(vars(transform).values()))


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Seed Python's, NumPy's and PyTorch's generators by some numbers; afterwards they are as before.

    Example:
        >>> with seeded(1, 2):
        ...     first = random.random()
        >>> with seeded(1, 2):
        ...     first == random.random()
        True
    """
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - nnU-Net draws from the global generator
    with torch.random.fork_rng(devices=[]):
        seed_all(*key)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002 - likewise


def seed_all(*key: int) -> None:
    """Seed the generators by some numbers, and leave them so."""
    state = int(np.random.SeedSequence(key).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)  # noqa: NPY002 - nnU-Net draws from the global generator
    torch.manual_seed(state)


def _as_it_is(batch: Any) -> Any:
    return batch
