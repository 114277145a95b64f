"""Short trainings in this process: every loss on every kind of label, schedules, resuming, combinations."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nnunet_losses import trainers
from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.trainers.names import Configuration, format_name
from tests.trainers import data

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {
    "labels": data.LABELS,
    "ignore": data.IGNORE,
    "regions": data.REGIONS,
    "regions and ignore": data.REGIONS_IGNORE,
    "2D": data.FLAT,
    "2D regions and ignore": data.FLAT_REGIONS_IGNORE,
    "one output": data.ONE_OUTPUT,
}


def has_meaning(key: str, kind: str) -> bool:
    spec = get_loss_spec(key)
    regions = 2 if "regions" in kind else 0
    return not regions or ("sigmoid" in spec.activations and regions <= (spec.regions or regions))


@pytest.mark.parametrize(
    ("key", "kind"), [(key, kind) for key in list_losses() for kind in KINDS if not has_meaning(key, kind)]
)
def test_what_has_no_meaning_says_so_at_once(key: str, kind: str, trainer_of: Callable[..., Any]) -> None:
    with pytest.raises(NotImplementedError, match=f"the loss {key} is not defined for"):
        trainer_of(format_name(Configuration(key)), KINDS[kind])


@pytest.mark.parametrize(
    ("key", "kind"), [(key, kind) for key in list_losses() for kind in KINDS if has_meaning(key, kind)]
)
def test_every_loss_trains(key: str, kind: str, trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of(format_name(Configuration(key)), KINDS[kind])
    trainer.on_train_start()
    before = [parameter.detach().clone() for parameter in trainer.network.parameters()]
    trainer.on_train_epoch_start()
    losses = [trainer.train_step(next(trainer.dataloader_train))["loss"]]
    trainer.on_validation_epoch_start()
    losses.append(trainer.validation_step(next(trainer.dataloader_val))["loss"])
    assert all(math.isfinite(loss) for loss in losses)
    changes = [
        not torch.equal(old, new) for old, new in zip(before, trainer.network.parameters(), strict=True)
    ]
    assert any(changes)


def run(trainer: Any) -> Any:
    trainer.perform_actual_validation = lambda *_: None
    trainer.run_training()
    return trainer


def test_the_log_says_which_loss_is_trained(trainer_of: Callable[..., Any]) -> None:
    trainer = run(trainer_of("nnUNetTrainerTversky_fp0p2_5epochs", data.FLAT_REGIONS_IGNORE))
    (log,) = Path(trainer.output_folder).glob("training_log_*.txt")
    text = log.read_text()
    assert "Loss tversky of nnunet-losses: fp=0.2, fn=0.7, phi='BI', smooth=1e-05" in text
    assert "phi is from the plan's batch_dice, sigmoid over regions, ignore label 3" in text


def test_checkpoint_holds_the_name(trainer_of: Callable[..., Any]) -> None:
    trainer = run(trainer_of("nnUNetTrainerDice_smooth1em7_NoMirroring_3epochs"))
    path = Path(trainer.output_folder) / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    assert checkpoint["trainer_name"] == "nnUNetTrainerDice_smooth1em7_NoMirroring_3epochs"
    assert checkpoint["inference_allowed_mirroring_axes"] is None  # the variant's doing


def test_epochs_of_the_name_reach_the_learning_rate(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerDice_7epochs")
    trainer.num_epochs = trainers.nnUNetTrainerDice_7epochs.epochs
    trainer.initialize()
    assert trainer.lr_scheduler.max_steps == 7


def test_name_without_epochs_trains_as_long_as_nnunet(trainer_of: Callable[..., Any]) -> None:
    cls = trainers.nnUNetTrainerDice
    made = trainer_of(cls)
    assert (cls.epochs, type(made)(**_arguments(made)).num_epochs) == (1000, 1000)
    assert type(made)(**_arguments(made)).num_iterations_per_epoch == 250


def _arguments(trainer: Any) -> dict[str, Any]:
    return trainer.my_init_kwargs | {"plans": {**trainer.my_init_kwargs["plans"], "continue_training": False}}


class Recorder(torch.nn.Module):
    """A loss that notes the epochs it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, int]] = []

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        self.told.append((epoch, num_epochs))

    def forward(self, logits: torch.Tensor, target: torch.Tensor, mask: Any = None) -> torch.Tensor:
        return logits.square().mean()


@pytest.fixture
def recorders(monkeypatch: pytest.MonkeyPatch) -> list[Recorder]:
    made: list[Recorder] = []
    monkeypatch.setattr(
        "nnunet_losses.trainers.loss_settings.create_loss",
        lambda *_, **__: made.append(Recorder()) or made[-1],
    )
    return made


def test_resumed_training_goes_on_with_the_schedule(
    trainer_of: Callable[..., Any], recorders: list[Recorder]
) -> None:
    first = trainer_of("nnUNetTrainerDice_4epochs", epochs=4)
    first.save_every = 1
    first.on_train_start()
    for _ in range(2):
        one_epoch(first)
    second = trainer_of("nnUNetTrainerDice_4epochs", epochs=4)
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    run(second)
    outputs = len(first.catalogue_losses)
    assert [recorder.told for recorder in recorders[:outputs]] == [[(0, 4), (1, 4)]] * outputs
    assert [recorder.told for recorder in recorders[outputs:]] == [[(2, 4), (3, 4)]] * outputs


def one_epoch(trainer: Any) -> None:
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    trainer.on_train_epoch_end([trainer.train_step(next(trainer.dataloader_train))])
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        trainer.on_validation_epoch_end([trainer.validation_step(next(trainer.dataloader_val))])
    trainer.on_epoch_end()


@pytest.mark.parametrize(
    "variant", ["DA5", "NoDeepSupervision", "BN", "noDummy2DDA", "warmup", "probabilisticOversampling_033"]
)
def test_variants_train(variant: str, trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of(f"nnUNetTrainerDiceCE_{variant}", data.FLAT)
    trainer.on_train_start()
    one_epoch(trainer)
    assert math.isfinite(trainer.logger.get_value("train_losses", step=-1))


def test_trainers_of_users_take_a_loss(trainer_of: Callable[..., Any]) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class Short(nnUNetTrainer):
        def __init__(self, plans: Any, configuration: Any, fold: Any, dataset_json: Any, device: Any) -> None:
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs = 17

    class nnUNetTrainerMine(trainers.with_loss(Short, "weighted_ce", class_weights=[1, 2, 3])):  # type: ignore[misc]
        pass

    made = trainer_of(nnUNetTrainerMine)
    assert type(made)(**_arguments(made)).num_epochs == 17
    made.initialize()
    assert made.catalogue_losses[0].params["class_weights"] == (1, 2, 3)


def test_with_loss_refuses_at_once() -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    with pytest.raises(TypeError, match="expected nnUNetTrainer or a subclass"):
        trainers.with_loss(dict, "dice")
    with pytest.raises(ValueError, match="there is no loss 'dyce'"):
        trainers.with_loss(nnUNetTrainer, "dyce")
    with pytest.raises(TypeError, match="no parameter 'smoth'"):
        trainers.with_loss(nnUNetTrainer, "dice", smoth=1)


def test_classes_are_pickled_by_name() -> None:
    cls = trainers.nnUNetTrainerFocal_gamma3_DA5_20epochs
    assert pickle.loads(pickle.dumps(cls)) is cls
    assert (cls.__module__, cls.__qualname__) == (
        "nnunet_losses.trainers",
        "nnUNetTrainerFocal_gamma3_DA5_20epochs",
    )
