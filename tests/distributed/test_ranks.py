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


def plan() -> list[worker.Entry]:
    """Every loss under every phi, activation and stage of its schedule."""
    entries = []
    for key in list_losses():
        spec = get_loss_spec(key)
        params: list[dict] = [{"phi": phi} for phi in spec.choices["phi"]] if spec.has_dice else [{}]
        params += [{"phi": "BI", "schedule": word} for word in spec.choices.get("schedule", ())]
        if "class_weights" in spec.parameters:
            params.append({"class_weights": [0.2, 1.0, 3.0]})
        if "w_global" in spec.parameters:
            params.append({"phi": "BI", "w_global": 0.5})
        epochs = (0, 30, 95) if "schedule" in spec.needs else (30,)
        entries += [
            worker.Entry(key, chosen, activation, epoch)
            for chosen in params
            for activation in spec.activations
            for epoch in epochs
        ]
    return entries


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[list]:
    """What each rank found, in the order of the plan."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save([tuple(entry) for entry in plan()], folder / "plan.pt")
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
    _, errors = process.communicate(timeout=1200)
    return errors if process.returncode else ""


def name(entry: worker.Entry) -> str:
    return "-".join(map(str, [entry.key, *entry.params.values(), entry.activation, entry.epoch]))


@pytest.mark.parametrize("number", range(len(plan())), ids=map(name, plan()))
def test_ranks_compute_the_joined_batch(ranks, number):
    entry = plan()[number]
    values = torch.stack([found[number][0] for found in ranks])
    gradients = [found[number][1] for found in ranks]
    torch.testing.assert_close(gradients[0], gradients[1])  # DistributedDataParallel did average
    if not get_loss_spec(entry.key).joined:
        assert values.isfinite().all()
        return
    value, gradient, _ = worker.outcome(worker.network(entry.channels), entry, WHOLE)
    torch.testing.assert_close(values.mean(), value)
    torch.testing.assert_close(gradients[0], gradient)
    if "B" in entry.params.get("phi", "B") and entry.key not in BY_SAMPLE:  # every term spans the ranks
        torch.testing.assert_close(values, value.expand(RANKS))


def test_ranks_remember_the_joined_batch(ranks):
    remembering = [n for n, entry in enumerate(plan()) if entry.key == "dice_hausdorff"]
    assert remembering
    for number in remembering:
        weights = [found[number][2]["dice_weight"] for found in ranks]
        entry = plan()[number]
        alone = worker.outcome(worker.network(), entry, WHOLE)[2]["dice_weight"]
        assert alone != 1
        torch.testing.assert_close(weights, [alone, alone], rtol=1e-5, atol=0)


def test_uneven_masks_tell_the_difference():
    # The mean of the halves' cross-entropies is not that of the whole, so that the test above can fail.
    entry = worker.Entry("ce", {})
    halves = [worker.outcome(worker.network(), entry, part)[0] for part in (slice(0, 2), slice(2, 4))]
    whole = worker.outcome(worker.network(), entry, WHOLE)[0]
    assert abs((halves[0] + halves[1]) / 2 - whole) > 1e-3
