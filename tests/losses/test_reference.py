"""Values and gradients of the independent oracle beside the checkout, for every registered loss."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from nnunet_losses import create_loss, list_losses

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def reference(shared: Path) -> tuple[dict[str, Any], Any]:
    folder = shared / "reference"
    return json.loads((folder / "losses.json").read_text()), np.load(folder / "losses.npz")


def setting(spec: dict[str, Any], entry: dict[str, Any]) -> Any:
    return create_loss(
        entry["key"],
        activation=spec["activation"],
        ignore_index=spec["ignore_index"],
        **entry["params"],
    )


def at_its_epoch(loss: Any, entry: dict[str, Any], batch: tuple[Any, ...], extra: dict[str, Any]) -> Any:
    state = entry.get("state")
    if state is None:
        return loss
    if "previous_epoch" in state:  # one training step on this very case
        loss.set_epoch(state["epoch"] - 1, state["num_epochs"])
        loss(*batch, **extra)
    loss.set_epoch(state["epoch"], state["num_epochs"])
    return loss


def disagreements(reference: Any, entry: dict[str, Any], dtype: torch.dtype) -> list[str]:
    table, arrays = reference
    name, tolerance = entry["case"], entry["tolerance"]
    spec = table["cases"][name]
    logits = torch.tensor(arrays[f"{name}/logits"], dtype=dtype, requires_grad=True)
    mask = torch.tensor(arrays[f"{name}/mask"]) if spec["mask"] else None
    batch = (logits, torch.tensor(arrays[f"{name}/target"]), mask)
    extra = {key: torch.tensor(value) for key, value in entry.get("forward", {}).items()}
    value = at_its_epoch(setting(spec, entry), entry, batch, extra)(*batch, **extra)
    value.backward()
    found = []
    if (
        abs(value.item() - entry["value"])
        > tolerance["value_rel"] * abs(entry["value"]) + tolerance["value_abs"]
    ):
        found.append(f"{name} {entry['params']}: {value.item()} instead of {entry['value']}")
    for point in entry["gradient"]:
        got, expected = logits.grad[tuple(point["index"])].item(), point["value"]
        allowed = tolerance["gradient_rel"] * abs(expected) + tolerance["gradient_abs"]
        if abs(got - expected) > (0 if point.get("ignored_voxel") else allowed):
            found.append(
                f"{name} {entry['params']} gradient at {point['index']}: {got} instead of {expected}"
            )
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("key", list_losses())
def test_reference_values_and_gradients(reference, key, dtype):
    entries = [entry for entry in reference[0]["entries"] if entry["key"] == key]
    assert len(entries) >= 12  # one per case at least
    assert [text for entry in entries for text in disagreements(reference, entry, dtype)] == []
