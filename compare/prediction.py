"""Predictions of one cell, by nnU-Net's own predictor from the final checkpoint."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from .training import FINAL

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from .sets import ImageSet

_IMAGES = ".images.json"  # of which the masks beside it are


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

    One without all probabilities was left by a run that was killed when it had judged them: it is made anew,
    and so is one of other images.
    """
    wanted = json.dumps([_stamp(image) for case in images.cases for image in case.images])
    if _holds(target, images, wanted):
        return
    shutil.rmtree(target, ignore_errors=True)
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files = [[str(image) for image in case.images] for case in images.cases]
    outputs = [str(partial / case.name) for case in images.cases]
    made.predict_from_files_sequential(files, outputs, save_probabilities=True, overwrite=True)
    (partial / _IMAGES).write_text(wanted, "utf-8")
    partial.rename(target)


def _stamp(image: Path) -> tuple[str, int, int]:
    status = image.stat()
    return str(image), status.st_size, status.st_mtime_ns


def _holds(target: Path, images: ImageSet, wanted: str) -> bool:
    listed = target / _IMAGES
    return (
        listed.is_file()
        and listed.read_text("utf-8") == wanted
        and all((target / f"{case.name}.npz").is_file() for case in images.cases)
    )


def drop_probabilities(target: Path) -> None:
    """Remove what is large and no longer needed; masks stay."""
    for pattern in ("*.npz", "*.pkl"):
        for file in target.glob(pattern):
            file.unlink()
