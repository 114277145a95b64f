"""Losses that do not train from scratch begin on another, and say so."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nnunet_losses import create_loss, trainers
from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.trainers.names import Configuration, format_name
from nnunet_losses.trainers.warm_up import WarmUp
from tests.losses.helpers import logits_for, truth
from tests.trainers import data
from tests.trainers.test_training import one_epoch

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.models import ModelFolderSpec

WARMED_UP = [key for key in list_losses() if get_loss_spec(key).begins_on]


def log_of(trainer: Any) -> str:
    return Path(trainer.log_file).read_text()


def test_five_losses_begin_on_another() -> None:
    assert sorted(WARMED_UP) == ["boundary", "hausdorff_dt", "hausdorff_er", "hausdorff_one_sided", "lovasz"]


@pytest.mark.parametrize("key", WARMED_UP)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    ("share", "epochs", "first"),
    [(0.5, 10, 5), (0.3, 10, 3), (0.29, 100, 29), (0.5, 1, 0), (0, 3, 0), (1, 3, 3)],
)
def test_the_loss_of_each_epoch(key: str, activation: Any, share: float, epochs: int, first: int) -> None:
    begins_on = get_loss_spec(key).begins_on
    beginning, itself = (create_loss(name, activation=activation) for name in (begins_on, key))
    loss = WarmUp(beginning, itself, share=share)
    batch = logits_for((2, 6, 5)), truth(activation, (2, 6, 5))
    for epoch in sorted({0, max(first - 1, 0), min(first, epochs - 1), epochs - 1}):
        loss.set_epoch(epoch, epochs)
        warm = epoch < first
        assert loss.weights == {begins_on: float(warm), key: float(not warm)}
        assert torch.equal(loss(*batch), (beginning if warm else itself)(*batch))


def test_geometry_is_that_of_the_loss_itself() -> None:
    loss = WarmUp(create_loss("dice"), create_loss("boundary", spacing=(1, 2)), share=0.5)
    logits, target = logits_for((2, 6, 5)), truth("softmax", (2, 6, 5))
    recipe = loss.geometry_recipe(3)
    assert recipe == create_loss("boundary", spacing=(1, 2)).geometry_recipe(3)
    geometry = recipe.collate([recipe(sample) for sample in target])
    for epoch in (0, 1):
        loss.set_epoch(epoch, 2)
        assert torch.equal(loss(logits, target, geometry=geometry), loss(logits, target))
    with pytest.raises(TypeError, match="'lovasz' takes no geometry"):
        WarmUp(create_loss("ce"), create_loss("lovasz"), share=0.5).geometry_recipe(3)
    with pytest.raises(ValueError, match="epoch 2 of 2 does not exist"):
        loss.set_epoch(2, 2)


@pytest.mark.parametrize(
    ("key", "spec"), list(zip(WARMED_UP, cycle([data.FLAT, data.REGIONS_IGNORE]), strict=False))
)
def test_both_parts_train(key: str, spec: ModelFolderSpec, trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of(format_name(Configuration(key)), spec, epochs=2)
    trainer.on_train_start()
    seen = []
    for _ in range(2):
        one_epoch(trainer)
        seen.append(trainer.catalogue_losses[0].weights[key])
        assert math.isfinite(trainer.logger.get_value("train_losses", step=-1))
    assert seen == [0, 1]
    first = get_loss_spec(key).begins_on
    text = log_of(trainer)
    assert f"The first 1 of 2 epochs train with {first} (warmup=0.5). {get_loss_spec(key).advice}" in text
    assert text.count("Loss weights:") == 2
    assert text.index(f"Loss weights: {first} 1, {key} 0") < text.index(f"Loss weights: {first} 0, {key} 1")


@pytest.mark.parametrize(("batch_dice", "spec"), [("BI", data.FLAT), ("I", data.LABELS)])
def test_dice_of_the_beginning_takes_the_plans_phi(
    batch_dice: str, spec: ModelFolderSpec, trainer_of: Callable[..., Any]
) -> None:
    trainer = trainer_of("nnUNetTrainerHausdorffOneSided", spec)
    trainer.initialize()
    assert all(loss.first.params["phi"] == batch_dice for loss in trainer.catalogue_losses)


def test_without_warm_up_there_is_only_the_loss_itself(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerBoundary_warmup0", data.FLAT)
    trainer.on_train_start()
    one_epoch(trainer)
    assert type(trainer.catalogue_losses[0]) is get_loss_spec("boundary").load()
    assert "train with" not in log_of(trainer)
    assert "Loss weights" not in log_of(trainer)


def test_trainers_of_users_take_a_warm_up(trainer_of: Callable[..., Any]) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class nnUNetTrainerMine(trainers.with_loss(nnUNetTrainer, "lovasz", classes="all", warmup=0.25)):  # type: ignore[misc]
        pass

    made = trainer_of(nnUNetTrainerMine, data.FLAT, epochs=8)
    made.initialize()
    loss = made.catalogue_losses[0]
    assert (loss.share, loss.params["classes"]) == (0.25, "all")
    with pytest.raises(TypeError, match="the trainer of 'dice' has no parameter 'warmup'"):
        trainers.with_loss(nnUNetTrainer, "dice", warmup=0.5)
    with pytest.raises(ValueError, match="warmup=2 is not valid"):
        trainers.with_loss(nnUNetTrainer, "lovasz", warmup=2)


@pytest.mark.parametrize("suffix", ["_NoMirroring", "_DA5", "_warmup"])
def test_a_warm_up_combines_with_variants_and_epochs(suffix: str, trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of(f"nnUNetTrainerBoundary_warmup0p25{suffix}_40epochs", data.FLAT, epochs=40)
    trainer.on_train_start()
    one_epoch(trainer)
    assert "The first 10 of 40 epochs train with dice (warmup=0.25)." in log_of(trainer)
