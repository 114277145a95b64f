"""Sums over the ranks of a distributed training: together they compute the loss of the joined batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

if TYPE_CHECKING:
    from torch import Tensor


class _SumOverRanks(torch.autograd.Function):
    """All-reduce forward and backward.

    With s = sum_r s_r and every rank's loss f(s), averaging the gradients (as DistributedDataParallel does)
    asks for W f'(s) ds_r/dw from each of the W ranks: the sum of what all ranks send back, hence the second
    reduction.
    """

    @staticmethod
    def forward(_: Any, local: Tensor) -> Tensor:
        total = local.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


def is_distributed() -> bool:
    """Whether several ranks train together. Then each of them must compute the loss, in the same order."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def sum_over_ranks(local: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks of the default process group; alone, the tensor itself.

    Averaging the ranks' gradients then gives the gradient of one process with the joined batch.
    """
    if not is_distributed():
        return local
    total: Tensor = _SumOverRanks.apply(local)  # type: ignore[no-untyped-call]  # torch does not annotate apply
    return total


def zero_if_nothing_counts(value: Tensor, valid: Tensor | None) -> Tensor:
    """Return 0, still connected to the graph, in place of a value over no valid voxel on any rank.

    For losses whose powers start above 0.
    """
    if valid is None:
        return value
    counted = sum_over_ranks(valid.any().to(value.dtype))
    return value * (counted > 0)


def mean_over_ranks(total: Tensor, count: Tensor) -> Tensor:
    """Divide a sum by a count or sum of weights, both over all ranks; 0, but connected, if nothing counts."""
    total, count = sum_over_ranks(torch.stack([total, count])).unbind()
    return total / torch.where(count == 0, 1, count)
