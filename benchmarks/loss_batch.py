"""Batches to measure losses on: balls as lesions, and a prediction that half finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

if TYPE_CHECKING:
    from torch import Tensor

SMALL_BALLS = 4  # largest radius where there are many
LARGE_BALLS = 9


def balls(space: tuple[int, ...], components: int, classes: int, generator: np.random.Generator) -> Tensor:
    """Return class ids (1, *S): so many balls, taking turns among the foreground classes."""
    labels = np.zeros(space, np.int16)
    grid = np.ogrid[tuple(slice(0, size) for size in space)]
    largest = SMALL_BALLS if components > 50 else LARGE_BALLS
    for number in range(components):
        centre = [generator.integers(0, size) for size in space]
        radius = generator.integers(2, largest + 1)
        inside = sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) <= radius**2
        labels[inside] = 1 + number % (classes - 1)
    return torch.from_numpy(labels[None])


def batch(shape: tuple[int, ...], components: int) -> tuple[Tensor, Tensor]:
    """Return logits (B, C, *S) that are noise plus a blurred truth, and class ids (B, 1, *S) int16."""
    generator = np.random.default_rng(0)
    target = torch.stack([balls(shape[2:], components, shape[1], generator) for _ in range(shape[0])])
    truth = torch.zeros(shape).scatter_(1, target.long(), 1)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    logits = noise.add_(F.avg_pool3d(truth, 5, stride=1, padding=2), alpha=6)
    return logits.requires_grad_(), target
