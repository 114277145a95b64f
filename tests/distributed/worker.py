"""One rank of a distributed training on the CPU: a share of every batch, gradients averaged by torch.

Run as ``worker.py RANK RANKS MEETING_FILE PLAN RESULT``. The plan is a list of entries made by the test; the
result, per entry, the value on this rank, the averaged gradient of the network, and what the loss remembers
when the next epoch begins.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_losses import create_loss, get_loss_spec

EPOCHS = 100


class Entry(NamedTuple):
    """A loss, its parameters, its activation, and the epoch in which it is computed."""

    key: str
    params: dict
    activation: str = "softmax"
    epoch: int = 30

    @property
    def channels(self) -> int:
        """Of the logits; a loss for one region gets one."""
        return get_loss_spec(self.key).regions or 3 if self.activation == "sigmoid" else 3


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


def network(channels: int = 3) -> nn.Module:
    """Return the smallest network: two weights and one bias per channel of the logits."""
    torch.manual_seed(5)
    return nn.Conv2d(2, channels, kernel_size=1)


def beside(entry: Entry, loss: Any, target: torch.Tensor, mask: torch.Tensor, part: slice) -> dict[str, Any]:
    """Return what a loss takes beside target and mask, as trainers give it."""
    if "labelled" in get_loss_spec(entry.key).needs:
        return {
            "labelled": torch.tensor([[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1]], dtype=torch.bool)[part]
        }
    if get_loss_spec(entry.key).geometry:
        recipe = loss.geometry_recipe(entry.channels)
        return {"geometry": recipe.collate([recipe(*sample) for sample in zip(target, mask, strict=True)])}
    return {}


def outcome(
    model: nn.Module, entry: Entry, part: slice
) -> tuple[torch.Tensor, list[torch.Tensor], dict[str, torch.Tensor]]:
    """Return value and gradients of a model on a part of the batch, then the state of the loss."""
    loss = create_loss(entry.key, activation=entry.activation, **entry.params)
    features, target, mask = (tensor[part] for tensor in batch(entry.activation))
    if entry.activation == "sigmoid":
        target = target[:, : entry.channels]
    loss.set_epoch(entry.epoch, EPOCHS)
    value = loss(model(features), target, mask, **beside(entry, loss, target, mask, part))
    value.backward()
    loss.set_epoch(entry.epoch + 1, EPOCHS)
    return value.detach(), [parameter.grad.clone() for parameter in model.parameters()], loss.state_dict()


def main(rank: int, ranks: int, meeting: str, plan: str, result: str) -> None:
    """Meet the other ranks, work through the plan, write the result."""
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    share = 4 // ranks
    part = slice(rank * share, (rank + 1) * share)
    entries = [Entry(*entry) for entry in torch.load(plan)]
    found = [outcome(DistributedDataParallel(network(entry.channels)), entry, part) for entry in entries]
    torch.save(found, result)
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6])
