"""The heuristic epsilon: mean voxels of each class in nnU-Net's own training patches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from nnunet_losses import create_loss, trainers
from nnunet_losses.trainers.patch_voxels import Drawing, mean_patch_voxels, training_drawing
from tests.trainers import data
from tests.trainers.test_loss_building import dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.models import ModelFolderSpec

KINDS = pytest.mark.parametrize(
    "spec", [data.LABELS, data.IGNORE, data.REGIONS_IGNORE, data.FLAT], ids=["3D", "ignore", "regions", "2D"]
)


def drawn_by_nnunet(trainer: Any, batches: int) -> np.ndarray:
    """Mean voxels per channel in batches of nnU-Net's own training loader without augmentation."""
    from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader

    plan, labels = trainer.configuration_manager, trainer.label_manager
    _, _, initial, _ = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    loader = nnUNetDataLoader(
        trainer.get_tr_and_val_datasets()[0], trainer.batch_size, initial, plan.patch_size, labels,
        oversample_foreground_percent=trainer.oversample_foreground_percent,
        probabilistic_oversampling=trainer.probabilistic_oversampling,
    )  # fmt: skip
    margins = [(int(whole) - part) // 2 for whole, part in zip(initial, plan.patch_size, strict=True)]
    centre = tuple(slice(low, low + size) for low, size in zip(margins, plan.patch_size, strict=True))
    channels = labels.foreground_regions if labels.has_regions else labels.all_labels
    patches = [next(loader)["target"][(slice(None), 0, *centre)] for _ in range(batches)]
    found = np.maximum(torch.cat(patches).numpy(), 0)
    return np.array([np.isin(found, channel).sum() / len(found) for channel in channels])


@pytest.mark.parametrize(
    ("variant", "spec"),
    [
        ("", data.LABELS),
        ("", data.REGIONS_IGNORE),
        ("_probabilisticOversampling_010", data.IGNORE),
        ("_probabilisticOversampling_010", data.FLAT),
    ],
    ids=["3D", "regions and ignore", "ignore, at random", "2D, at random"],
)
def test_epsilon_is_what_nnunets_loader_draws(
    spec: ModelFolderSpec, variant: str, trainer_of: Callable[..., Any]
) -> None:
    """Within the error of sampling; the two variants differ by more than that."""
    trainer = trainer_of(f"nnUNetTrainerDiceIEps{variant}", spec)
    trainer.initialize()
    np.random.seed(1)  # noqa: NPY002 - nnU-Net draws from it
    expected = drawn_by_nnunet(trainer, batches=400)
    np.testing.assert_allclose(trainer.catalogue_losses[0].params["smooth"], expected, rtol=0.1)


@KINDS
def test_epsilon_falls_with_the_voxels_of_the_scale(
    spec: ModelFolderSpec, trainer_of: Callable[..., Any]
) -> None:
    trainer = trainer_of("nnUNetTrainerDiceIEps", spec)
    trainer._get_deep_supervision_scales = lambda: [
        [1.0] * spec.dimension,
        [0.5] * spec.dimension,
        [0.25] * spec.dimension,
    ]
    trainer.initialize()
    first, second = (np.array(loss.params["smooth"]) for loss in trainer.catalogue_losses)
    np.testing.assert_allclose(first, second * 2**spec.dimension)
    assert "smooth is the mean number of voxels per training patch" in Path(trainer.log_file).read_text()


def test_a_class_that_no_patch_holds_has_the_smallest_epsilon(trainer_of: Callable[..., Any]) -> None:
    spec = data.FLAT.but(labels={"background": 0, "organ": 1, "lesion": 2, "absent": 3})
    trainer = trainer_of("nnUNetTrainerDiceIEps", spec)
    trainer.initialize()
    assert trainer.catalogue_losses[0].params["smooth"][3] == 1e-5
    trainer.on_train_start()
    assert np.isfinite(trainer.train_step(next(trainer.dataloader_train))["loss"])


def test_given_epsilons_are_not_counted(trainer_of: Callable[..., Any]) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class nnUNetTrainerMine(trainers.with_loss(nnUNetTrainer, "dice_image_eps", smooth=[0, 40, 8])):  # type: ignore[misc]
        pass

    trainer = trainer_of(nnUNetTrainerMine, data.LABELS)
    trainer.initialize()
    assert trainer.catalogue_losses[0].params["smooth"] == (0, 40, 8)
    assert "smooth is the mean" not in Path(trainer.log_file).read_text()


def test_a_wrong_number_of_epsilons_is_refused(trainer_of: Callable[..., Any]) -> None:
    loss = create_loss("dice_image_eps", smooth=[1, 2])
    with pytest.raises(ValueError, match="smooth has 2 values, but the logits have 3 channels"):
        loss(torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.int16))


# --- the drawing and its cache ---

DRAWING = Drawing((16, 16, 16), (16, 16, 16), foreground=0.5, annotated=False)
LABELS = SimpleNamespace(all_labels=[0, 1, 2], has_ignore_label=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return data.write_preprocessed(tmp_path, data.LABELS)


def caches(root: Path) -> list[Path]:
    return sorted(root.glob("nnunet_losses_patch_voxels_*.json"))


def test_drawing_is_repeatable_and_leaves_the_generator_alone(folder: Path, tmp_path: Path) -> None:
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.uniform()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    first = mean_patch_voxels(dataset(folder, data.TRAINING), DRAWING, LABELS, tmp_path)
    assert np.random.uniform() == expected  # noqa: NPY002
    caches(tmp_path)[0].unlink()
    assert mean_patch_voxels(dataset(folder, ("c", "b", "a")), DRAWING, LABELS, tmp_path) == first
    assert sum(first) == pytest.approx(16**3)


def test_every_setting_has_its_own_file(folder: Path, tmp_path: Path) -> None:
    cases = dataset(folder, data.TRAINING)
    settings = [
        DRAWING,
        replace(DRAWING, foreground=0.0),
        replace(DRAWING, foreground=1.0),
        replace(DRAWING, patch_size=(8, 8, 8)),
    ]
    for setting in settings:
        mean_patch_voxels(cases, setting, LABELS, tmp_path)
    mean_patch_voxels(dataset(folder, ("a", "b")), DRAWING, LABELS, tmp_path)  # another fold
    assert len(caches(tmp_path)) == 5
    content = json.loads(caches(tmp_path)[0].read_text())
    assert set(content) > {"cases", "patch_size", "foreground", "voxels_of_label"}


def test_foreground_patches_hold_more_of_it(folder: Path, tmp_path: Path) -> None:
    cases, small = (
        dataset(folder, data.TRAINING),
        replace(DRAWING, patch_size=(8, 8, 8), initial_patch_size=(8, 8, 8)),
    )
    none, half, every = (
        np.array(mean_patch_voxels(cases, replace(small, foreground=share), LABELS, tmp_path)[1:])
        for share in (0.0, 0.5, 1.0)
    )
    assert (every > 1.2 * none).all()
    np.testing.assert_allclose(half, (none + every) / 2, rtol=0.1)


def test_a_damaged_file_is_counted_anew(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = dataset(folder, ("a",))
    first = mean_patch_voxels(cases, DRAWING, LABELS, tmp_path)
    (cache,) = caches(tmp_path)
    for damage in ('{"voxels_of', "{}", "[]", '{"voxels_of_label": ["x"]}'):
        cache.write_text(damage)
        assert mean_patch_voxels(cases, DRAWING, LABELS, tmp_path) == first
        assert "its numbers are counted anew" in capsys.readouterr().out
        assert json.loads(cache.read_text())["voxels_of_label"] == first


COUNT = """
import sys
from tests.trainers.test_patch_voxels import DRAWING, LABELS, data, dataset, mean_patch_voxels
from pathlib import Path
folder = Path(sys.argv[1])
print(mean_patch_voxels(dataset(folder, data.TRAINING), DRAWING, LABELS, folder.parent.parent))
"""


def test_trainings_that_begin_together_agree(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNT, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)
    ]
    first, second = (process.communicate(timeout=1200)[0].splitlines()[-1] for process in running)
    (cache,) = caches(tmp_path)
    assert json.loads(first) == json.loads(second) == json.loads(cache.read_text())["voxels_of_label"]
    assert not list(tmp_path.glob(".nnunet_losses*"))


@pytest.mark.parametrize(
    ("batch", "percent", "probabilistic", "share"),
    [
        (2, 0.33, False, 0.5),
        (3, 0.33, False, 1 / 3),
        (2, 0.0, False, 0.0),
        (1, 0.33, False, 0.0),
        (2, 0.1, True, 0.1),
    ],
)
def test_share_of_foreground_patches(
    *, batch: int, percent: float, probabilistic: bool, share: float, trainer_of: Callable[..., Any]
) -> None:
    trainer = trainer_of("nnUNetTrainerDice", data.FLAT)
    trainer.batch_size, trainer.oversample_foreground_percent = batch, percent
    trainer.probabilistic_oversampling = probabilistic
    assert training_drawing(trainer).foreground == pytest.approx(share, abs=1e-6)
