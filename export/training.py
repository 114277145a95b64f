"""How the model was trained, as far as its files say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import Training

from . import description
from .trainer_class import is_ours

if TYPE_CHECKING:
    from .model_folder import ModelFolder

STOCK_TRAINER = "nnUNetTrainer"


def training(model: ModelFolder) -> Training:
    """Trainer, data, epochs, loss and validation Dice."""
    epochs = {checkpoint.epoch for checkpoint in model.checkpoints}
    return Training(
        trainer=model.first.trainer,
        dataset=str(model.plans.get("dataset_name", model.dataset.get("name", "unknown"))),
        epochs=epochs.pop() if len(epochs) == 1 else None,
        validation_dice=_validation_dice(model),
        **_loss(model),
    )


def _loss(model: ModelFolder) -> dict[str, Any]:
    """Name the loss and what its Dice part does with empty labels; nothing for foreign trainers."""
    trained_phi = "BI" if model.configuration.configuration.get("batch_dice") else "I"
    if model.first.trainer == STOCK_TRAINER:
        return {"loss": "dice_ce", "phi": trained_phi, "smooth": 1e-5}
    if not is_ours(model.first.trainer):
        return {}
    return {"loss": None, "phi": trained_phi}


def _validation_dice(model: ModelFolder) -> dict[str, float]:
    """Mean Dice per label over the validation cases of all exported folds; undefined cases do not count."""
    cases = [case for checkpoint in model.checkpoints for case in _validation_cases(checkpoint.path.parent)]
    found = {}
    for label in description.labels(model):
        key = str(label.members if len(label.members) > 1 else label.members[0])
        dice = description.mean([case[key]["Dice"] for case in cases if key in case])
        if dice is not None:
            found[label.name] = dice
    return found


def _validation_cases(fold: Any) -> list[dict[str, Any]]:
    summary = fold / "validation" / "summary.json"
    if not summary.is_file():
        return []
    content = json.loads(summary.read_text(encoding="utf-8"))
    return [case["metrics"] for case in content.get("metric_per_case", [])]
