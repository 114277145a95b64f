"""The soft skeleton of clDice, and how much of it lies in the truth, with a gradient that keeps one map.

Recording every minimum and maximum of a dozen erosions would fill gigabytes. Here the gradient is made at
once, and only voxels that have one are followed to the neighbours where their value comes from.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .overlap import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence


def soft_skeleton(values: Tensor, iterations: int) -> Tensor:
    """The soft skeleton of probabilities (B, F, *S), without gradient; outside the patch nothing counts.

    Source: Shit et al., https://arxiv.org/abs/2003.07311.

    Example:
        >>> bar = torch.zeros(1, 1, 3, 7)
        >>> bar[..., 1, 1:6] = 0.5
        >>> soft_skeleton(bar, iterations=2)[0, 0, 1]
        tensor([0.0000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.0000])
    """
    parts = [_Thinning(part, iterations).skeletons[-1] for part in _parts(values.detach())]
    return torch.cat(parts).view(values.shape)


def skeleton_precision(probabilities: Tensor, truth: Tensor, *, iterations: int, smooth: float) -> Tensor:
    """(sum S(p) y + smooth) / (sum S(p) + smooth), S the soft skeleton, for each map; differentiable by p.

    Args:
        probabilities: (B, F, *S).
        truth: (B, F, *S) of 0 and 1, constant.
        iterations: of the soft skeleton.
        smooth: epsilon, once in numerator and denominator.

    Returns:
        Shares (B, F); 1 where the denominator is 0.
    """
    shares: Tensor = _Precision.apply(  # type: ignore[no-untyped-call]  # torch has no types
        probabilities, truth, iterations, smooth
    )
    return shares


class _Precision(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, truth: Tensor, iterations: int, smooth: float) -> Tensor:
        shares, gradients = [], []
        for part, true in zip(_parts(probabilities), _parts(truth), strict=True):
            thinning = _Thinning(part, iterations)
            share, by_skeleton = _share(thinning.skeletons[-1], true, smooth)
            shares.append(share)
            if ctx.needs_input_grad[0]:
                gradients.append(thinning.gradient(by_skeleton))
        ctx.save_for_backward(torch.cat(gradients).view(probabilities.shape) if gradients else None)
        return torch.cat(shares).view(probabilities.shape[:2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        by_share = gradients[0].view(*gradient.shape[:2], *[1] * (gradient.ndim - 2))
        return gradient * by_share, None, None, None


def _parts(maps: Tensor) -> Sequence[Tensor]:
    """Maps (M, *S) to compute together: all on a GPU, one after the other where they share the cache."""
    flat = maps.flatten(0, 1)
    return torch.split(flat, 1) if flat.device.type == "cpu" else (flat,)


def _share(skeletons: Tensor, truth: Tensor, smooth: float) -> tuple[Tensor, Tensor]:
    """Return the share of each skeleton that lies in the truth, and its gradient by the skeleton."""
    total = skeletons.flatten(1).sum(1) + smooth
    share = ratio((skeletons * truth).flatten(1).sum(1) + smooth, total)
    shape = (-1, *[1] * (truth.ndim - 1))
    slope = torch.where(total == 0, 0, 1 / total).view(shape)
    return share, (truth - share.view(shape)).mul_(slope)


class _Thinning:
    """Maps (M, *S), eroded step by step, and what is left of them as a skeleton.

    Each level lies in a border of one voxel, so that every neighbour is at a fixed distance in memory.

    Attributes:
        levels: e_0, e_1, ..., each the minimum of the one before over the voxel and its face neighbours.
        skeletons: S_k = S_(k-1) + r_k - S_(k-1) r_k with the ridge r_k = relu(e_k - open(e_k)).
    """

    def __init__(self, maps: Tensor, iterations: int) -> None:
        padded = maps.new_empty(len(maps), *[size + 2 for size in maps.shape[1:]])
        self._inner = (slice(None), *[slice(1, -1)] * (maps.ndim - 1))
        self._steps = padded.stride()[1:]
        padded[self._inner] = maps
        self._spare = [torch.empty_like(padded) for _ in self._steps]
        self.levels = [padded, self._minimum(padded)]
        self.skeletons = [self._ridge(0)]
        for number in range(1, iterations + 1):
            self.levels.append(self._minimum(self.levels[-1]))
            ridge, skeleton = self._ridge(number), self.skeletons[-1]
            self.skeletons.append(ridge.addcmul_(skeleton, ridge, value=-1).clamp_min_(0).add_(skeleton))

    def gradient(self, by_skeleton: Tensor) -> Tensor:
        """Return the gradient by the maps, given that by the last skeleton, which is overwritten."""
        by_level = torch.zeros_like(self.levels[0])
        for number in reversed(range(len(self.skeletons))):
            ridge = self._ridge(number)
            by_ridge = ridge.sign().mul_(by_skeleton)
            if number:
                by_ridge.addcmul_(by_ridge, self.skeletons[number - 1], value=-1)
                by_skeleton.addcmul_(by_skeleton, ridge, value=-1)
            by_opened = torch.zeros_like(by_level)
            by_opened[self._inner] = by_ridge
            by_level -= self._before_maximum(by_opened, self.levels[number + 1])
            by_level = self._before_minimum(by_level, number)
            by_level[self._inner] += by_ridge
        return by_level[self._inner]

    def _ridge(self, number: int) -> Tensor:
        """relu(e - cube maximum of its erosion), without border. Keeps the stages of the maximum."""
        opened = self._maximum(self.levels[number + 1])
        return (self.levels[number][self._inner] - opened[self._inner]).clamp_min_(0)

    def _minimum(self, level: Tensor) -> Tensor:
        _fill_border(level, torch.inf)
        result = level.clone()
        flat, out = level.flatten(), result.flatten()
        for step in self._steps:
            torch.minimum(out[:-step], flat[step:], out=out[:-step])
            torch.minimum(out[step:], flat[:-step], out=out[step:])
        return result

    def _maximum(self, level: Tensor) -> Tensor:
        """Maximum over the 3^n cube, axis by axis; the spare maps then hold it after each axis."""
        _fill_border(level, -torch.inf)
        for step, before, after in zip(self._steps, (level, *self._spare), self._spare, strict=False):
            flat, out = before.flatten(), after.flatten()
            out[-step:] = flat[-step:]
            torch.maximum(flat[:-step], flat[step:], out=out[:-step])
            torch.maximum(out[step:], flat[:-step], out=out[step:])
        return self._spare[-1]

    def _before_maximum(self, gradient: Tensor, level: Tensor) -> Tensor:
        """Move a gradient from the last maximum to where its values come from; overwrites it."""
        stages = [level, *self._spare]
        for step, (before, after) in zip(
            reversed(self._steps), reversed(list(pairwise(stages))), strict=True
        ):
            gradient = _move(gradient, before, after, (0, step, -step))
        return gradient

    def _before_minimum(self, gradient: Tensor, number: int) -> Tensor:
        """Move a gradient from an erosion to where its values come from; overwrites it."""
        shifts = (0, *self._steps, *(-step for step in self._steps))
        return _move(gradient, self.levels[number], self.levels[number + 1], shifts)


def _move(gradient: Tensor, before: Tensor, after: Tensor, shifts: Sequence[int]) -> Tensor:
    """Give the gradient of each voxel to the first of its neighbours that has its value.

    Comparing into a map of numbers and multiplying by it is many times faster than selecting.
    """
    moved, same = torch.zeros_like(gradient), torch.empty_like(gradient)
    left, result = gradient.flatten(), moved.flatten()
    for shift in shifts:
        size = len(left) - abs(shift)
        here, there = max(0, -shift), max(0, shift)
        rest, to = left.narrow(0, here, size), result.narrow(0, there, size)
        if shift == shifts[-1]:
            to += rest  # one of them has the value
            break
        equal = same.flatten().narrow(0, here, size)
        torch.eq(before.flatten().narrow(0, there, size), after.flatten().narrow(0, here, size), out=equal)
        to.addcmul_(rest, equal)
        rest.addcmul_(rest, equal, value=-1)
    return moved


def _fill_border(padded: Tensor, value: float) -> None:
    for axis in range(1, padded.ndim):
        padded.select(axis, 0).fill_(value)
        padded.select(axis, -1).fill_(value)
