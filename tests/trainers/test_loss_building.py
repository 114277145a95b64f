"""What LossTrainer builds: activation, ignore, phi, deep supervision, class weights."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from nnunet_losses import trainers
from nnunet_losses.trainers.class_frequency import label_counts
from nnunet_losses.trainers.supervision import deep_supervision_weights
from tests.trainers import data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.models import ModelFolderSpec


def batch(trainer: Any, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Random logits of every output, and targets of the data loader's form."""
    generator = torch.Generator().manual_seed(seed)
    labels = trainer.label_manager
    logits, targets = [], []
    for scale in trainer._get_deep_supervision_scales() or [
        [1.0] * len(trainer.configuration_manager.patch_size)
    ]:
        shape = [int(n * s) for n, s in zip(trainer.configuration_manager.patch_size, scale, strict=True)]
        heads = labels.num_segmentation_heads
        logits.append(torch.randn(2, heads, *shape, generator=generator).to(dtype).requires_grad_())
        if labels.has_regions:
            channels = heads + labels.has_ignore_label
            targets.append(torch.rand(2, channels, *shape, generator=generator) < 0.3)
        else:
            values = heads + labels.has_ignore_label
            targets.append(torch.randint(0, values, (2, 1, *shape), generator=generator, dtype=torch.int16))
    return (logits, targets) if trainer.enable_deep_supervision else (logits[0], targets[0])


ALL_KINDS = pytest.mark.parametrize(
    "spec",
    [data.LABELS, data.IGNORE, data.REGIONS, data.REGIONS_IGNORE, data.FLAT, data.FLAT_REGIONS_IGNORE],
    ids=["labels", "ignore", "regions", "regions_ignore", "2d", "2d_regions_ignore"],
)


@ALL_KINDS
@pytest.mark.parametrize("variant", ["", "_NoDeepSupervision"])
def test_dice_ce_is_nnunets_loss_plus_one(
    spec: ModelFolderSpec, variant: str, trainer_of: Callable[..., Any]
) -> None:
    """With an ignore label nnU-Net sums its binary cross-entropy over regions; here it is a mean."""
    ours = trainer_of(f"nnUNetTrainerDiceCE{variant}", spec)
    ours.initialize()
    logits, targets = batch(ours)
    value = ours.loss(logits, targets)
    theirs = super(trainers.LossTrainer, ours)._build_loss()
    if ours.label_manager.has_regions and ours.label_manager.has_ignore_label:
        (theirs.loss if variant == "" else theirs).weight_ce /= ours.label_manager.num_segmentation_heads
    expected = theirs(logits, [t.clone() for t in targets] if variant == "" else targets.clone())
    torch.testing.assert_close(value, expected + 1, rtol=2e-4, atol=2e-4)


@ALL_KINDS
def test_ignored_voxels_have_no_gradient(spec: ModelFolderSpec, trainer_of: Callable[..., Any]) -> None:
    ours = trainer_of("nnUNetTrainerDiceTopK", spec)
    ours.initialize()
    logits, targets = batch(ours)
    ours.loss(logits, targets).backward()
    labels = ours.label_manager
    ignored = targets[0][:, -1:].bool() if labels.has_regions else targets[0] == labels.ignore_label
    if not labels.has_ignore_label:
        ignored = torch.zeros_like(targets[0][:, :1], dtype=torch.bool)
    assert logits[0].grad.abs().sum() > 0
    assert (logits[0].grad * ignored).abs().sum() == 0


@pytest.mark.parametrize(
    ("name", "spec", "phi"),
    [
        ("nnUNetTrainerDice", data.LABELS, "I"),
        ("nnUNetTrainerDice", data.FLAT, "BI"),
        ("nnUNetTrainerDice_phiI", data.FLAT, "I"),
        ("nnUNetTrainerDice_phiBCI", data.LABELS, "BCI"),
    ],
)
def test_phi_is_of_the_plan_unless_the_name_says_otherwise(
    name: str, spec: ModelFolderSpec, phi: str, trainer_of: Callable[..., Any]
) -> None:
    trainer = trainer_of(name, spec)
    trainer.initialize()
    assert trainer.catalogue_losses[0].params["phi"] == phi


def test_half_precision_logits_give_the_same_loss(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerDiceCE", data.REGIONS_IGNORE)
    trainer.initialize()
    half, targets = batch(trainer, dtype=torch.float16)
    value = trainer.loss(half, targets)
    torch.testing.assert_close(value, trainer.loss([logits.float() for logits in half], targets))
    assert value.dtype == torch.float32
    value.backward()
    assert half[0].grad.isfinite().all()


def test_weights_are_those_of_nnunet() -> None:
    assert deep_supervision_weights(4, keep_last=False) == pytest.approx([4 / 7, 2 / 7, 1 / 7, 0])
    assert deep_supervision_weights(4, keep_last=True)[-1] == pytest.approx(1e-6 / 1.750001)
    assert (
        deep_supervision_weights(1, keep_last=True) == deep_supervision_weights(1, keep_last=False) == [1.0]
    )
    with pytest.raises(ValueError, match="at least 1"):
        deep_supervision_weights(0, keep_last=False)


@pytest.mark.parametrize(("compiled", "last"), [(True, 0.0), (False, 1e-6 / 1.000001)])
def test_distributed_training_keeps_the_coarsest_output(
    *, compiled: bool, last: float, trainer_of: Callable[..., Any]
) -> None:
    trainer = trainer_of("nnUNetTrainerDice")
    trainer.is_ddp = True
    trainer._do_i_compile = lambda: compiled
    assert trainer._build_loss().weight_factors[-1] == pytest.approx(last)


def test_one_output_is_finite(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerDice", data.ONE_OUTPUT)
    trainer.initialize()
    assert trainer.loss(*batch(trainer)).isfinite()


# --- class weights ---


def training_voxels(spec: ModelFolderSpec, *, regions: bool) -> np.ndarray:
    segmentations = [np.maximum(data.volumes(spec, seed=seed)[1], 0) for seed in range(3)]
    classes = [[1, 2], [2]] if regions else [[0], [1], [2]]
    return np.array([sum(np.isin(seg, labels).sum() for seg in segmentations) for labels in classes])


@ALL_KINDS
def test_class_weights_are_inverse_frequencies(spec: ModelFolderSpec, trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerWCE", spec)
    trainer.initialize()
    inverse = 1 / training_voxels(spec, regions=spec.regions_class_order is not None)
    expected = inverse / inverse.mean()
    np.testing.assert_allclose(trainer.catalogue_losses[0].params["class_weights"], expected)


def dataset(folder: Path, cases: tuple[str, ...]) -> Any:
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    return nnUNetDatasetBlosc2(str(folder), list(cases))


def test_counts_are_kept_per_set_of_cases(tmp_path: Path) -> None:
    folder = data.write_preprocessed(tmp_path, data.LABELS)
    first = label_counts(dataset(folder, ("a", "b")), tmp_path)
    (cache,) = tmp_path.glob("nnunet_losses_label_counts_*.json")
    cache.write_text(json.dumps({"voxels_of_label": [7]}))
    assert label_counts(dataset(folder, ("a", "b")), tmp_path) == [7]
    assert label_counts(dataset(folder, ("a", "c")), tmp_path) != first  # another fold is another file
    later = (folder / "b_seg.b2nd").stat().st_mtime_ns + 10**9
    os.utime(folder / "b_seg.b2nd", ns=(later, later))  # preprocessed anew
    assert label_counts(dataset(folder, ("a", "b")), tmp_path) == first


def test_counts_do_not_need_a_writable_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data.write_preprocessed(tmp_path, data.LABELS)
    counts = label_counts(dataset(folder, ("a",)), tmp_path / "absent")
    assert sum(counts) == 24**3
    assert "are not kept" in capsys.readouterr().out
