"""Every trainer trains, stops, goes on, and its model predicts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.trainers import plugin
from nnunet_losses.trainers.names import Configuration, format_name
from tests.trainers import data
from tests.trainers.test_training import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.models import ModelFolderSpec


def kind_of(key: str) -> ModelFolderSpec:
    """Regions with an ignore label in 2D, where the loss has a meaning for them; else labels in 3D."""
    spec = get_loss_spec(key)
    return data.LABELS if spec.regions or "sigmoid" not in spec.activations else data.FLAT_REGIONS_IGNORE


def mask_of(trainer: Any, spec: ModelFolderSpec) -> np.ndarray:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        device=torch.device("cpu"), perform_everything_on_device=False, use_mirroring=False, allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    assert predictor.trainer_name == type(trainer).__name__
    image = data.volumes(spec, seed=3)[0]
    spacing = [999.0, 1.0, 1.0] if spec.dimension == 2 else [1.0, 1.0, 1.0]
    mask: np.ndarray = predictor.predict_single_npy_array(image, {"spacing": spacing})
    return mask


@pytest.mark.parametrize("key", list_losses())
def test_every_trainer_stops_goes_on_and_predicts(
    key: str, trainer_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(plugin.VARIABLE, "")  # register() changes it
    plugin.register()
    spec = kind_of(key)
    first = trainer_of(format_name(Configuration(key)), spec, epochs=2)
    first.save_every = 1
    first.on_epoch_end = stop_after(first)
    with pytest.raises(KeyboardInterrupt):
        run(first)
    second = trainer_of(format_name(Configuration(key)), spec, epochs=2)
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_latest.pth"))
    assert second.current_epoch == 1
    run(second)
    losses = [second.logger.get_value("train_losses", step=epoch) for epoch in range(2)]
    assert all(math.isfinite(loss) for loss in losses)
    mask = mask_of(second, spec)
    assert mask.shape == data.volumes(spec, seed=3)[1].shape[1:]
    assert set(np.unique(mask)) <= {0, 1, 2}


def stop_after(trainer: Any) -> Callable[[], None]:
    """Interrupt a training as a user does, after its first epoch."""
    end = trainer.on_epoch_end

    def end_and_stop() -> None:
        end()
        raise KeyboardInterrupt

    return end_and_stop
