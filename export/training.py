"""How the model was trained, as far as its files say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.schema import Training

from . import description
from .errors import ModelFolderError
from .trainer_class import STOCK_TRAINER, our_configuration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .model_folder import ModelFolder


# losses that are Dice under a reduction of their own
_FIXED_PHI = {
    "dice_image": "I",
    "dice_image_eps": "I",
    "dice_class": "CI",
    "dice_batch": "BI",
    "dice_all": "BCI",
}


def training(model: ModelFolder) -> Training:
    """Trainer, data, epochs, loss and validation Dice."""
    epochs = {checkpoint.epoch for checkpoint in model.checkpoints}
    return Training(
        trainer=model.first.trainer,
        dataset=str(model.plans.get("dataset_name", model.dataset.get("name", "unknown"))),
        epochs=epochs.pop() if len(epochs) == 1 else None,
        validation_dice=validation_dice(model),
        **_loss(model.first.trainer, batch_dice=bool(model.configuration.configuration.get("batch_dice"))),
    )


def joint_training(models: Sequence[ModelFolder]) -> Training:
    """Training of an ensemble: what all models share. The validation of one is not that of the ensemble."""
    known = [training(model) for model in models]
    if len(known) == 1:
        return known[0]
    shared = {
        name: value
        for name, value in known[0]
        if name != "validation_dice" and all(getattr(other, name) == value for other in known)
    }
    named = {
        name: ", ".join(dict.fromkeys(getattr(one, name) for one in known)) for name in ("trainer", "dataset")
    }
    return Training(**(shared | named))


def _loss(trainer: str, *, batch_dice: bool) -> dict[str, Any]:
    """Name the loss and what its Dice part does with empty labels; nothing for foreign trainers."""
    if trainer == STOCK_TRAINER:  # nnU-Net's Dice + cross-entropy: the catalogue's, up to a constant
        return {"loss": "dice_ce", "phi": "BI" if batch_dice else "I", "smooth": 1e-5}
    ours = our_configuration(trainer)
    if ours is None:
        return {}
    settings = ours.settings(batch_dice=batch_dice)
    phi, smooth = settings.pop("phi", _FIXED_PHI.get(ours.loss)), settings.pop("smooth", None)
    known = {name: value for name, value in settings.items() if isinstance(value, str | float | int | bool)}
    if ours.warmup:
        known["warmup"] = ours.warmup
    return {
        "loss": ours.loss,
        "loss_parameters": known,
        "phi": phi,
        "smooth": smooth if isinstance(smooth, float | int) else None,
    }


def validation_dice(model: ModelFolder) -> dict[str, float]:
    """Mean Dice per label over the validation cases of all exported folds; undefined cases do not count."""
    cases = [case for checkpoint in model.checkpoints for case in _validation_cases(checkpoint.path.parent)]
    found = {}
    for label in description.labels(model):
        key = str(label.members if len(label.members) > 1 else label.members[0])
        dice = description.mean([case[key]["Dice"] for case in cases if key in case])
        if dice is not None:
            found[label.name] = dice
    return found


def _validation_cases(fold: Path) -> list[dict[str, Any]]:
    summary = fold / "validation" / "summary.json"
    if not summary.is_file():
        return []
    try:
        content = json.loads(summary.read_text(encoding="utf-8"))
        return [case["metrics"] for case in content["metric_per_case"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(
            f"{summary} is no summary of nnU-Net's validation ({type(error).__name__}: {error}). "
            "Remove it, or restore the one that the training wrote."
        ) from error
