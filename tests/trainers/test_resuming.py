"""A training that stops in the middle and goes on has the schedule of one that does not stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.trainers.names import Configuration, format_name
from tests.trainers import data
from tests.trainers.test_training import one_epoch
from tests.trainers.test_warm_up import log_of

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULED = [
    key for key in list_losses() if get_loss_spec(key).begins_on or "schedule" in get_loss_spec(key).needs
]
EPOCHS = 4


def name_of(key: str) -> str:
    """With a schedule that has moved after two epochs."""
    short = {"cat_mil": {"warmup": 3}, "ce_to_dice_finetune": {"fraction": 0.5}}
    return format_name(Configuration(key, short.get(key, {})))


def weights(trainer: Any) -> list[dict[str, float]]:
    return [loss.weights for loss in trainer.catalogue_losses]


@pytest.mark.parametrize("key", SCHEDULED)
def test_weights_after_resuming_are_those_of_a_training_without_a_break(
    key: str, trainer_of: Callable[..., Any]
) -> None:
    first = trainer_of(name_of(key), data.FLAT, epochs=EPOCHS)
    first.save_every = 1
    first.on_train_start()
    at_first = weights(first)
    for _ in range(2):
        one_epoch(first)
    second = trainer_of(name_of(key), data.FLAT, epochs=EPOCHS)
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    for trainer in (first, second):
        assert trainer.current_epoch == 2
        trainer.on_train_epoch_start()
    assert weights(first) == weights(second)
    assert weights(second) != at_first
    assert "Loss weights: " in log_of(second)


def test_what_a_loss_has_learnt_is_in_the_checkpoint(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerDiceHausdorff", data.FLAT, epochs=EPOCHS)
    trainer.save_every = 1
    trainer.on_train_start()
    one_epoch(trainer)
    path = Path(trainer.output_folder) / "checkpoint_latest.pth"
    checkpoint = torch.load(path, weights_only=False)
    assert checkpoint["trainer_name"] == "nnUNetTrainerDiceHausdorff"
    totals = [value for name, value in checkpoint["nnunet_losses_state"].items() if name.endswith("totals")]
    assert len(totals) == len(trainer.catalogue_losses)
    assert all((value > 0).all() for value in totals)
    assert not list(path.parent.glob("*.partial"))


def test_another_trainers_checkpoint_starts_the_averages_afresh(trainer_of: Callable[..., Any]) -> None:
    stock = trainer_of("nnUNetTrainerDiceCE", data.FLAT, epochs=EPOCHS)
    stock.save_every = 1
    stock.on_train_start()
    one_epoch(stock)
    path = str(Path(stock.output_folder) / "checkpoint_latest.pth")
    assert "nnunet_losses_state" not in torch.load(path, weights_only=False)  # such a loss remembers nothing
    trainer = trainer_of("nnUNetTrainerDiceHausdorff", data.FLAT, epochs=EPOCHS)
    trainer.on_train_start()
    trainer.load_checkpoint(path)
    assert "does not hold what the loss remembers" in log_of(trainer)
    one_epoch(trainer)
