"""One rank of a distributed training on the CPU: a share of every batch, gradients averaged by torch.

Run as ``worker.py RANK RANKS MEETING_FILE PLAN RESULT``. The plan is a list of (key, parameters, activation)
made by the test; the result, per entry, the value on this rank and the averaged gradient of the network.
"""

from __future__ import annotations

import sys

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_losses import create_loss


def batch(activation: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return features (4, 2, H, W), target, and a mask that hides more of the first half."""
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(4, 2, 6, 7, generator=generator)
    if activation == "softmax":
        target = torch.randint(0, 3, (4, 1, 6, 7), generator=generator)
        target[0] = 0  # a sample without foreground
    else:
        target = torch.rand(4, 3, 6, 7, generator=generator) < 0.3
    kept = torch.tensor([0.2, 0.4, 0.9, 1.0]).view(4, 1, 1, 1)
    return features, target, torch.rand(4, 1, 6, 7, generator=generator) < kept


def network() -> nn.Module:
    """Return the smallest network: one weight and one bias per channel of the logits."""
    torch.manual_seed(5)
    return nn.Conv2d(2, 3, kernel_size=1)


def outcome(
    model: nn.Module, entry: tuple[str, dict, str], part: slice
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return value and gradients of a model on a part of the batch."""
    key, params, activation = entry
    features, target, mask = (tensor[part] for tensor in batch(activation))
    value = create_loss(key, activation=activation, **params)(model(features), target, mask)
    value.backward()
    return value.detach(), [parameter.grad.clone() for parameter in model.parameters()]


def main(rank: int, ranks: int, meeting: str, plan: str, result: str) -> None:
    """Meet the other ranks, work through the plan, write the result."""
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    share = 4 // ranks
    part = slice(rank * share, (rank + 1) * share)
    found = [outcome(DistributedDataParallel(network()), entry, part) for entry in torch.load(plan)]
    torch.save(found, result)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6])
