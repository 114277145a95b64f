"""Schedules: which part of a loss counts in which epoch."""

from __future__ import annotations

import pytest
import torch

from nnunet_losses import create_loss, get_loss_spec, list_losses, schedule

from .helpers import logits_for, truth

BATCH = logits_for((2, 6, 5)), truth("softmax", (2, 6, 5))
CE, DICE = create_loss("ce")(*BATCH), create_loss("dice")(*BATCH)


def at(key: str, epoch: int, epochs: int, **params: object) -> torch.Tensor:
    loss = create_loss(key, **params)
    loss.set_epoch(epoch, epochs)
    return loss(*BATCH)


@pytest.mark.parametrize("epoch", range(5))
def test_linear(epoch):
    a = 1 - epoch / 4
    torch.testing.assert_close(at("ce_to_dice_linear", epoch, 5), a * CE + (1 - a) * DICE)


@pytest.mark.parametrize("key", [key for key in list_losses() if "schedule" in get_loss_spec(key).needs])
def test_scheduled_losses_show_their_weights(key):
    loss = create_loss(key)
    for epoch in (0, 5, 9):
        loss.set_epoch(epoch, 10)
        assert loss.weights
        assert all(isinstance(weight, float) for weight in loss.weights.values())


def test_linear_with_one_epoch_is_cross_entropy():
    torch.testing.assert_close(at("ce_to_dice_linear", 0, 1), CE)


@pytest.mark.parametrize(
    ("epoch", "epochs", "fraction", "expected"),
    [
        (8, 10, 0.9, CE),
        (9, 10, 0.9, DICE),
        (10, 12, 0.9, CE),
        (11, 12, 0.9, DICE),
        (0, 4, 0, DICE),
        (3, 4, 1, CE),
    ],
)
def test_finetune(epoch, epochs, fraction, expected):
    torch.testing.assert_close(at("ce_to_dice_finetune", epoch, epochs, fraction=fraction), expected)


@pytest.mark.parametrize("percent", range(101))
def test_a_share_is_meant_as_it_is_written(percent):
    """0.55 * 100 is 55.00000000000001, and 0.29 * 100 is 28.999999999999996."""
    share = float(f"0.{percent:02}") if percent < 100 else 1.0
    assert schedule.warm_up_epochs(share, 100) == percent
    assert sum(schedule.finetune(epoch, 100, fraction=share) for epoch in range(100)) == percent


@pytest.mark.parametrize("key", [key for key in list_losses() if "schedule" in get_loss_spec(key).needs])
def test_a_resumed_training_continues(key):
    through = create_loss(key)
    for epoch in range(7):
        through.set_epoch(epoch, 8)
    assert torch.equal(through(*BATCH), at(key, 6, 8))


@pytest.mark.parametrize(("epoch", "epochs"), [(-1, 5), (5, 5), (0, 0)])
@pytest.mark.parametrize("key", ["ce_to_dice_linear", "ce_to_dice_finetune"])
def test_impossible_epochs_are_refused(key, epoch, epochs):
    with pytest.raises(ValueError, match=f"epoch {epoch} of {epochs} does not exist"):
        create_loss(key).set_epoch(epoch, epochs)
