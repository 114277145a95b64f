"""Two processes of a distributed training agree on what comes from the training set and from the schedule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from tests.trainers import data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# nnU-Net puts the ranks of a distributed training on GPUs: here each makes its trainers, then they meet.
RANK = """
import json, sys
import torch
from torch import distributed
from nnunet_losses import trainers
from nnunet_losses.trainers.loss_state import joined_state
from nnunet_losses.trainers.patch_voxels import training_drawing
from tests.trainers import data

rank, meeting = int(sys.argv[1]), sys.argv[2]
epsilon = data.make_trainer(trainers.nnUNetTrainerDiceIEps, data.FLAT)
partial = data.make_trainer(trainers.nnUNetTrainerLeafDice, data.FLAT)
ratio = data.make_trainer(trainers.nnUNetTrainerDiceHausdorff_phiI, data.FLAT, epochs=3)
for trainer in (partial, ratio):
    trainer.initialize()
distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
# so nnU-Net shares two samples out: the random one to the first, the one with foreground to the second
epsilon._set_batch_size_and_oversample = lambda: None
epsilon.batch_size, epsilon.oversample_foreground_percent = 1, float(rank)
epsilon.initialize()
loss = ratio.catalogue_losses[0]
logits = torch.linspace(-1, 1, 2 * 3 * 16 * 32).view(2, 3, 16, 32).requires_grad_()
target = (torch.arange(2 * 16 * 32).view(2, 1, 16, 32) // (3 + 5 * rank)) % 3
ratio.on_train_epoch_start()
loss(logits, target)
state = joined_state(ratio.supervision)
own = [float(value) for value in loss.totals]
ratio.current_epoch = 1
ratio.on_train_epoch_start()
print("FOUND" + json.dumps({
    "drawing": training_drawing(epsilon).foreground,
    "epsilon": epsilon.catalogue_losses[0].params["smooth"],
    "labelled": partial.labelled.of(["ab"[rank]]).tolist(),
    "weights": loss.weights,
    "own": own,
    "joined": {name: value.tolist() for name, value in state.items()},
}))
distributed.barrier()
distributed.destroy_process_group()  # or the group's threads may end the process with an abort
"""


@pytest.fixture(scope="module")
def ranks(preprocessed: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "nnUNet_raw": str(folder),
        "nnUNet_preprocessed": str(preprocessed(data.FLAT)), "nnUNet_n_proc_DA": "0",
    }  # fmt: skip
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(folder / "meeting")],
            env={**environment, "nnUNet_results": str(folder / str(rank))},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    done = [process.communicate(timeout=1200) for process in processes]
    assert all(process.returncode == 0 for process in processes), done
    return [json.loads(out.partition("FOUND")[2].splitlines()[0]) for out, _ in done]


def test_epsilon_is_that_of_the_joined_batch(ranks: list[dict], trainer_of: Callable[..., object]) -> None:
    alone = trainer_of("nnUNetTrainerDiceIEps", data.FLAT)
    alone.initialize()  # type: ignore[attr-defined]
    assert [found["drawing"] for found in ranks] == [0.5, 0.5]
    expected = list(alone.catalogue_losses[0].params["smooth"])  # type: ignore[attr-defined]
    assert [found["epsilon"] for found in ranks] == [expected, expected]


def test_each_rank_has_the_labels_of_its_batch(ranks: list[dict]) -> None:
    assert [found["labelled"] for found in ranks] == [[[True, True, True]], [[True, True, False]]]


def test_weights_of_a_ratio_are_those_of_both(ranks: list[dict]) -> None:
    assert ranks[0]["own"] != ranks[1]["own"]  # under phi "I" Dice is that of the rank's own samples
    hausdorff, dice = (sum(found["own"][index] for found in ranks) for index in range(2))
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert ranks[0]["weights"]["dice"] == pytest.approx(hausdorff / dice)


def test_what_is_saved_is_the_mean_of_both(ranks: list[dict]) -> None:
    """So that any number of ranks goes on with the same ratio."""
    assert ranks[0]["joined"] == ranks[1]["joined"]
    mean = torch.tensor([found["own"] for found in ranks], dtype=torch.float64).mean(0)
    saved = torch.tensor(ranks[0]["joined"]["losses.0.totals"], dtype=torch.float64)
    torch.testing.assert_close(saved, mean)
