"""A tiny preprocessed data set, as nnU-Net leaves it before training, and trainers on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.models import ModelFolderSpec, dataset_json, fingerprint, plans

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CASES = ("a", "b", "c", "d")
TRAINING = ("a", "b", "c")

LABELS = ModelFolderSpec(patch_size=(16, 16, 16), labels={"background": 0, "organ": 1, "lesion": 2})
IGNORE = LABELS.but(labels={"background": 0, "organ": 1, "lesion": 2, "ignore": 3})
REGIONS = LABELS.but(labels={"background": 0, "whole": [1, 2], "lesion": [2]}, regions_class_order=(1, 2))
REGIONS_IGNORE = REGIONS.but(labels={"background": 0, "whole": [1, 2], "lesion": [2], "ignore": 3})
FLAT = LABELS.but(patch_size=(16, 32), spacing=(1.0, 1.0))  # 2D: batch_dice is true
FLAT_REGIONS_IGNORE = REGIONS_IGNORE.but(patch_size=(16, 32), spacing=(1.0, 1.0))
ONE_OUTPUT = FLAT.but(features=(4, 8))


def write_preprocessed(root: Path, spec: ModelFolderSpec) -> Path:
    """Write four cases; the last one is validated. Label 3 is there only if it is the ignore label."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    base = root / "Dataset999_Random"
    folder = base / f"nnUNetPlans_{spec.configuration}"
    folder.mkdir(parents=True)
    content = {
        "nnUNetPlans": plans(spec),
        "dataset": dataset_json(spec),
        "dataset_fingerprint": fingerprint(spec),
    }
    content["labelled"] = labelled(spec)
    content["splits_final"] = [{"train": list(TRAINING), "val": ["d"]}]  # type: ignore[assignment]
    for name, value in content.items():
        (base / f"{name}.json").write_text(json.dumps(value))
    for index, case in enumerate(CASES):
        data, segmentation = volumes(spec, seed=index)
        properties = {"class_locations": _locations(segmentation, spec), "spacing": [1.0, 1.0, 1.0]}
        shape = data.shape
        nnUNetDatasetBlosc2.save_case(data, segmentation, properties, str(folder / case), shape, shape)
    return folder


def labelled(spec: ModelFolderSpec) -> dict[str, list[str]]:
    """Labels drawn in each case: all, or the first; the background counts without being named."""
    names = [name for name in spec.labels if name not in ("background", "ignore")]
    return {case: names[:1] if case == "b" else names for case in CASES}


def volumes(spec: ModelFolderSpec, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels (1, z, y, x): a block, half of it lesion, noise; some voxels ignored, some outside."""
    generator = np.random.default_rng(seed)
    shape = (2, 24, 40) if spec.dimension == 2 else (24, 24, 24)
    labels = np.zeros(shape, dtype=np.int8)
    labels[..., 6:18, 6:18] = 1
    labels[..., 6:18, 12 : 15 + seed] = 2
    image = labels + generator.normal(size=shape)
    labels[..., :2, :] = -1  # outside the image, as nnU-Net marks it
    if "ignore" in spec.labels:
        labels[..., 20:, :] = 3
    return image[None].astype(np.float32), labels[None]


def _locations(segmentation: np.ndarray, spec: ModelFolderSpec) -> dict[Any, np.ndarray]:
    classes = [v for k, v in spec.labels.items() if k not in ("background", "ignore")]
    keys = [tuple(value) if isinstance(value, list) else value for value in classes]
    if "ignore" in spec.labels:
        keys.append((-1, 0, 1, 2))  # where random patches are drawn from
    return {key: np.argwhere(np.isin(segmentation, key)) for key in keys}


def set_environment(monkeypatch: pytest.MonkeyPatch, preprocessed: Path, results: Path) -> None:
    monkeypatch.setenv("nnUNet_raw", str(results / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed))
    monkeypatch.setenv("nnUNet_results", str(results))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")


def make_trainer(cls: type[Any], spec: ModelFolderSpec, *, epochs: int = 1, iterations: int = 1) -> Any:
    """Instantiate a trainer as ``nnUNetv2_train`` does, for a very short, repeatable training on the CPU."""
    import torch

    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - nnU-Net's augmentation draws from it
    settings = {**plans(spec), "continue_training": False}
    trainer = cls(settings, spec.configuration, 0, dataset_json(spec), torch.device("cpu"))
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = iterations
    trainer.num_val_iterations_per_epoch = 1
    trainer.logger.plot_progress_png = lambda *_: None  # takes longer than the training
    return trainer
