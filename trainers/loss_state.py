"""What a loss has learnt of the training, in nnU-Net's checkpoints, which hold nothing of a loss."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nnunet_losses.ranks import is_distributed

if TYPE_CHECKING:
    from torch import Tensor, nn

_KEY = "nnunet_losses_state"


def joined_state(loss: nn.Module) -> dict[str, Tensor]:
    """Return the state of a loss, the same for all ranks, each of which must call this.

    Numbers are averaged: they are equal on all ranks, or parts of a sum whose scale does not matter.
    """
    state = {name: value.detach().clone() for name, value in loss.state_dict().items()}
    if is_distributed():
        for value in filter(torch.is_floating_point, state.values()):
            torch.distributed.all_reduce(value)
            value.div_(torch.distributed.get_world_size())
    return {name: value.cpu() for name, value in state.items()}


def add_to_checkpoint(path: str | Path, state: dict[str, Tensor]) -> None:
    """Write a state into a checkpoint of nnU-Net, in one step: a reader finds the old file or the new one."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    with tempfile.NamedTemporaryFile(dir=Path(path).parent, suffix=".partial", delete=False) as file:
        temporary = Path(file.name)
    try:
        torch.save({**content, _KEY: state}, temporary)
        temporary.chmod(Path(path).stat().st_mode)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_from_checkpoint(checkpoint: str | Path | dict[str, Any]) -> dict[str, Tensor] | None:
    """Return the state that a checkpoint holds; None if it holds none."""
    content: dict[str, Any] = (
        checkpoint
        if isinstance(checkpoint, dict)
        else torch.load(checkpoint, map_location="cpu", weights_only=False)
    )
    return content.get(_KEY)
