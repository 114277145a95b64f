"""Two processes with half a batch each compute what one process computes with the whole."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from nnunet_losses import get_loss_spec, list_losses

from . import worker

RANKS = 2
WHOLE = slice(0, 4)
# Terms of samples, whatever the phi of a Dice part is.
BY_SAMPLE = (
    "dice_image",
    "dice_class",
    "dice_image_eps",
    "unified_focal",
    "generalized_surface",
    "cc_dice_ce",
    "cat_mil",
    "cldice",
    "skeleton_recall",
)


def plan() -> list[tuple[str, dict, str]]:
    """Every loss that claims it, under every phi and activation."""
    entries = []
    for key in list_losses():
        spec = get_loss_spec(key)
        phis = [{"phi": phi} for phi in spec.choices["phi"]] if spec.has_dice else [{}]
        if "class_weights" in spec.parameters:
            phis.append({"class_weights": [0.2, 1.0, 3.0]})
        activations = (
            spec.activations[:1] if spec.regions else spec.activations
        )  # the batch has three regions
        entries += [(key, params, activation) for params in phis for activation in activations]
    return entries


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list]:
    """What each rank found, in the order of the plan."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(plan(), folder / "plan.pt")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    processes = []
    for rank in range(RANKS):
        files = [folder / "meeting", folder / "plan.pt", folder / f"{rank}.pt"]
        command = [sys.executable, worker.__file__, str(rank), str(RANKS), *map(str, files)]
        processes.append(
            subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True)
        )
    failures = [error for process in processes if (error := _failure(process))]
    assert not failures, failures[0]
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


def _failure(process: subprocess.Popen) -> str:
    _, errors = process.communicate(timeout=240)
    return errors if process.returncode else ""


@pytest.mark.parametrize("number", range(len(plan())), ids=["-".join(map(str, entry)) for entry in plan()])
def test_ranks_compute_the_joined_batch(ranks, number):
    entry = plan()[number]
    key, params, _ = entry
    values = torch.stack([found[number][0] for found in ranks])
    gradients = [found[number][1] for found in ranks]
    torch.testing.assert_close(gradients[0], gradients[1])  # DistributedDataParallel did average
    if not get_loss_spec(key).joined:
        assert values.isfinite().all()
        return
    value, gradient = worker.outcome(worker.network(), entry, WHOLE)
    torch.testing.assert_close(values.mean(), value)
    torch.testing.assert_close(gradients[0], gradient)
    if "B" in params.get("phi", "B") and key not in BY_SAMPLE:  # every term spans the ranks
        torch.testing.assert_close(values, value.expand(RANKS))


def test_uneven_masks_tell_the_difference():
    # The mean of the halves' cross-entropies is not that of the whole, so that the test above can fail.
    entry = ("ce", {}, "softmax")
    halves = [worker.outcome(worker.network(), entry, part)[0] for part in (slice(0, 2), slice(2, 4))]
    whole = worker.outcome(worker.network(), entry, WHOLE)[0]
    assert abs((halves[0] + halves[1]) / 2 - whole) > 1e-3
