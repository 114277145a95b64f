"""Predictions of one cell, by nnU-Net's own predictor from the final checkpoint."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from .training import FINAL

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from .sets import ImageSet


def predictor(model: Path, fold: int, *, device: torch.device, mirroring: bool) -> Any:
    """Build ``nnUNetPredictor`` with its defaults from the files of a training."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415 - heavy

    made = nnUNetPredictor(
        use_mirroring=mirroring,
        perform_everything_on_device=device.type == "cuda",
        device=device,
        allow_tqdm=False,
    )
    made.initialize_from_trained_model_folder(str(model), (fold,), FINAL)
    return made


def predict_set(made: Any, images: ImageSet, target: Path) -> None:
    """Predict masks and probabilities of a set into a folder, which appears when all are there.

    One without all probabilities was left by a run that was killed when it had judged them: it is made anew.
    """
    if target.is_dir() and all((target / f"{case.name}.npz").is_file() for case in images.cases):
        return
    shutil.rmtree(target, ignore_errors=True)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files = [[str(image) for image in case.images] for case in images.cases]
    outputs = [str(partial / case.name) for case in images.cases]
    made.predict_from_files_sequential(files, outputs, save_probabilities=True, overwrite=True)
    partial.rename(target)


def drop_probabilities(target: Path) -> None:
    """Remove what is large and no longer needed; masks stay."""
    for pattern in ("*.npz", "*.pkl"):
        for file in target.glob(pattern):
            file.unlink()
