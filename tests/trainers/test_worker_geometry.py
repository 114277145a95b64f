"""The geometry that nnU-Net's data loader makes is the geometry that the loss would make."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_losses import create_loss, trainers
from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.trainers.names import Configuration, format_name
from nnunet_losses.trainers.worker_geometry import LONGEST_TABLE, GeometryTransform, OutputGeometry
from tests.trainers import data
from tests.trainers.test_warm_up import log_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SPATIAL = [key for key in list_losses() if get_loss_spec(key).geometry]
FOUR_STAGES = data.LABELS.but(features=(2, 4, 4, 4))  # two outputs count
ANISOTROPIC = (2.5, 0.8, 0.7)
KINDS = {
    "ignore": FOUR_STAGES.but(labels=data.IGNORE.labels, spacing=ANISOTROPIC),
    "regions and ignore": data.REGIONS_IGNORE.but(features=(2, 4, 4, 4), spacing=ANISOTROPIC),
    "one region": FOUR_STAGES.but(labels={"background": 0, "lesion": [1, 2]}, regions_class_order=(1,)),
    "2D": data.FLAT.but(features=(2, 4, 4, 4), spacing=(0.5, 1.5)),
    "dummy 2D": FOUR_STAGES.but(
        patch_size=(4, 32, 32), spacing=(4.0, 0.5, 0.5), strides=((1,) * 3, (1, 2, 2), (1, 2, 2), (2, 2, 2))
    ),
}


def name_of(key: str) -> str:
    return format_name(Configuration(key))


def has_meaning(key: str, kind: str) -> bool:
    return "regions" not in kind or get_loss_spec(key).regions is None


def started(trainer: Any) -> Any:
    """Start a training in an epoch in which every part of every loss counts."""
    trainer.on_train_start()
    for loss in trainer.catalogue_losses:
        loss.set_epoch(80, 100)
    return trainer


def value_and_gradients(trainer: Any, images: torch.Tensor, target: Any, given: Any) -> list[torch.Tensor]:
    trainer.network.zero_grad()
    with trainer.supervision.given(given):
        value = trainer.loss(trainer.network(images), target)
    value.backward()
    gradients = [p.grad.clone() for p in trainer.network.parameters() if p.grad is not None]
    return [value.detach(), *gradients]


@pytest.mark.parametrize(
    ("key", "kind"), [(key, kind) for key in SPATIAL for kind in KINDS if has_meaning(key, kind)]
)
def test_loss_is_the_same_as_with_its_own_geometry(
    key: str, kind: str, trainer_of: Callable[..., Any]
) -> None:
    trainer = started(trainer_of(name_of(key), KINDS[kind]))
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        batch = next(loader)
        target, found = trainer.geometry.split(batch["target"])
        assert len(found) == len(trainer.catalogue_losses) == 2
        given = value_and_gradients(trainer, batch["data"], target, [{"geometry": item} for item in found])
        own = value_and_gradients(trainer, batch["data"], target, ())
        torch.testing.assert_close(given, own, rtol=0, atol=0)


def test_coarse_voxels_are_larger(trainer_of: Callable[..., Any]) -> None:
    trainer = started(trainer_of("nnUNetTrainerBoundary", KINDS["dummy 2D"]))
    _, found = trainer.geometry.split(next(trainer.dataloader_train)["target"])
    assert [item.spacing for item in found] == [(4.0, 0.5, 0.5), (4.0, 1.0, 1.0)]
    assert [loss.params["spacing"] for loss in trainer.catalogue_losses] == [
        (4.0, 0.5, 0.5),
        (4.0, 1.0, 1.0),
    ]


def test_spacing_for_other_axes_is_refused(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of(trainers.with_loss(nnUNetTrainer, "boundary", spacing=[1, 1]), data.LABELS)
    with pytest.raises(ValueError, match="has 2 numbers, but this configuration has 3 axes"):
        trainer.initialize()


@pytest.fixture
def own_geometry(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which losses made geometry themselves, for want of any."""
    from nnunet_losses.spatial import SpatialLoss

    made: list[str] = []
    make = SpatialLoss._make_geometry
    monkeypatch.setattr(
        SpatialLoss, "_make_geometry", lambda self, inputs: made.append(self.key) or make(self, inputs)
    )
    return made


def one_step_each(trainer: Any) -> None:
    trainer.on_train_start()
    trainer.on_train_epoch_start()
    trainer.train_step(next(trainer.dataloader_train))
    trainer.on_validation_epoch_start()
    trainer.validation_step(next(trainer.dataloader_val))


@pytest.mark.parametrize(
    "variant",
    ["", "_NoDA", "_DA5", "_DASegOrd0", "_onlyMirror01_DASegOrd0", "_NoDeepSupervision", "_noDummy2DDA"],
)
def test_variants_get_geometry(variant: str, trainer_of: Callable[..., Any], own_geometry: list[str]) -> None:
    one_step_each(trainer_of(f"nnUNetTrainerBlobDice{variant}", data.FLAT))
    assert own_geometry == []


def test_trainers_of_users_get_geometry(trainer_of: Callable[..., Any], own_geometry: list[str]) -> None:
    """Above and below: transforms of static methods, as nnU-Net's are."""
    calls: list[str] = []

    class Below(nnUNetTrainer):
        @staticmethod
        def get_training_transforms(*arguments: Any, **named: Any) -> Any:
            calls.append("below")
            return nnUNetTrainer.get_training_transforms(*arguments, **named)

    class nnUNetTrainerAbove(trainers.with_loss(Below, "cc_dice_ce", spacing=[1, 2])):  # type: ignore[misc]
        @staticmethod
        def get_validation_transforms(*arguments: Any, **named: Any) -> Any:
            calls.append("above")
            return nnUNetTrainer.get_validation_transforms(*arguments, **named)

    trainer = trainer_of(nnUNetTrainerAbove, data.FLAT)
    one_step_each(trainer)
    assert (own_geometry, sorted(calls)) == ([], ["above", "below"])
    assert trainer.catalogue_losses[0].params["spacing"] == (1, 2)


def test_without_geometry_the_loss_makes_it(trainer_of: Callable[..., Any], own_geometry: list[str]) -> None:
    """The data loader of a user's trainer may be of another kind."""
    trainer = started(trainer_of("nnUNetTrainerBoundary", data.FLAT))
    batch = next(trainer.dataloader_train)
    batch["target"] = batch["target"][: trainer.geometry.targets]
    for _ in range(2):
        trainer.train_step(batch)
    assert own_geometry == ["boundary", "boundary"]
    assert log_of(trainer).count("The loss makes the geometry of a batch itself") == 1


def test_geometry_is_not_kept_for_the_next_batch(trainer_of: Callable[..., Any]) -> None:
    trainer = started(trainer_of("nnUNetTrainerBoundary", data.FLAT))
    trainer.train_step(next(trainer.dataloader_train))
    assert trainer.supervision._given == ()


def test_distributed_training_gets_geometry_of_the_coarsest_output(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerBlobDice", data.FLAT)
    trainer.is_ddp, trainer._do_i_compile = True, lambda: False
    trainer._build_loss()
    outputs = len(trainer._get_deep_supervision_scales())
    assert len(trainer.catalogue_losses) == len(trainer.geometry.outputs) == outputs == 2


def test_cascades_get_geometry(
    preprocessed: Callable[..., Path], trainer_of: Callable[..., Any], own_geometry: list[str], tmp_path: Path
) -> None:
    """Labels of the previous stage are no part of the target."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    spec = data.LABELS.but(configuration_overrides={"previous_stage": "3d_lowres"})
    trainer = trainer_of("nnUNetTrainerBlobDice", spec)
    folder = tmp_path / "previous"
    folder.mkdir()
    trainer.folder_with_segs_from_previous_stage = str(folder)
    for seed, case in enumerate(data.CASES):
        labels = np.maximum(data.volumes(spec, seed=seed)[1][0], 0)
        nnUNetDatasetBlosc2.save_seg(labels, str(folder / case))
    one_step_each(trainer)
    assert own_geometry == []
    assert trainer.num_input_channels == 3  # the image, and the previous stage's two labels
    target, (found,) = trainer.geometry.split(next(trainer.dataloader_train)["target"])
    expected = trainer.geometry.outputs[0].recipe
    expected = expected.collate([expected(sample) for sample in target[0]])
    for name, item in expected.maps.items():
        torch.testing.assert_close(found[name], item)


def test_worker_processes_send_geometry(
    trainer_of: Callable[..., Any], own_geometry: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of("nnUNetTrainerBlobDice", data.FLAT)
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    one_step_each(trainer)
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        loader._finish()
    assert own_geometry == []


# --- tensors of equal shape ---


def output_of(key: str, **settings: Any) -> OutputGeometry:
    return OutputGeometry(create_loss(key, **settings).geometry_recipe(2), ignore_channel=False)


def stacked(output: OutputGeometry, targets: list[torch.Tensor]) -> list[torch.Tensor]:
    """Stack as nnU-Net's data loader does: shapes and dtypes are those of the first sample."""
    samples = [output.pack(target) for target in targets]
    batch = [torch.empty((len(samples), *tensor.shape), dtype=tensor.dtype) for tensor in samples[0]]
    for number, sample in enumerate(samples):
        for tensors, tensor in zip(batch, sample, strict=True):
            tensors[number] = tensor
    return batch


@pytest.mark.parametrize("key", SPATIAL)
def test_samples_with_more_and_fewer_components_make_a_batch(key: str) -> None:
    generator = torch.Generator().manual_seed(0)
    shares = (0.0, 0.02, 0.3)
    targets = [(torch.rand((1, 9, 12, 7), generator=generator) < share).short() for share in shares]
    output = output_of(key)
    recipe = output.recipe
    expected = recipe.collate([recipe(target) for target in targets])
    found = output.unpack(stacked(output, targets))
    assert found is not None
    assert found.maps.keys() == expected.maps.keys()
    for name, item in expected.maps.items():
        torch.testing.assert_close(found[name], item)


@pytest.mark.parametrize("key", ["blob_dice", "cc_dice_ce", "cat_mil"])
def test_too_many_components_are_left_to_the_loss(key: str) -> None:
    grid = torch.zeros((1, 2, 2 * LONGEST_TABLE + 2), dtype=torch.int16)
    grid[..., : 2 * LONGEST_TABLE : 2] = 1
    output = output_of(key)
    assert output.unpack(stacked(output, [grid])) is not None
    grid[..., 2 * LONGEST_TABLE] = 1
    assert output.unpack(stacked(output, [torch.zeros_like(grid), grid])) is None


def test_the_transform_can_be_sent_to_a_process_that_was_spawned() -> None:
    transform = GeometryTransform(dict, (output_of("boundary", spacing=(1.0, 2.0)),), 2)
    sent = pickle.loads(pickle.dumps(transform))
    assert sent == transform
    targets = [torch.zeros((1, 4, 4), dtype=torch.int16), torch.zeros((1, 2, 2), dtype=torch.int16)]
    done = sent(image=0, segmentation=targets)
    assert [tuple(item.shape) for item in done["segmentation"]] == [(1, 4, 4), (1, 2, 2), (1, 4, 4)]
    again = GeometryTransform(lambda **sample: sample, transform.outputs, 2)(**done)
    assert len(again["segmentation"]) == 3
