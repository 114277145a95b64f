"""One cell from nothing to its result: train, predict, score. Every step goes on where it was interrupted."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from filelock import FileLock

from nnunet_losses.trainers import register

from .origin import add_origin, origin
from .prediction import drop_probabilities, predict_set, predictor
from .preparation import read_prepared
from .recipe import check_recipe
from .results import Cost, Curves, Result, SetResult, read_progress, read_result, write_progress, write_result
from .scoring import score_set
from .sets import read_description
from .study import read_study, trainer_name
from .training import Length, peak_memory, train

if TYPE_CHECKING:
    from pathlib import Path

    from .preparation import Prepared
    from .study import Cell, Settings


class DivergedError(RuntimeError):
    """A training whose loss is no longer a number."""


def run_cell(output: Path, cell: Cell, *, workers: int = 0) -> Result:
    """Run a cell unless it is done; two processes never run the same one at once.

    Args:
        output: folder of the comparison, prepared.
        cell: one of its cells.
        workers: processes that augment; they change no figure.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    folder = cell.folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        done = read_result(folder)
        if done is not None:
            return done
        run = _Run(output, cell)
        trainer = run.trained(workers)
        result = run.result(trainer, run.judged(trainer))
        write_result(folder, result)
    return result


class _Run:
    """A cell while it runs."""

    def __init__(self, output: Path, cell: Cell) -> None:
        self.cell, self.output = cell, output
        self.folder = cell.folder(output)
        self.settings: Settings = read_study(output).settings
        self.prepared: Prepared = read_prepared(output)
        self.device = torch.device(self.settings.device)
        self.trainer = trainer_name(cell.loss, self.settings)
        self._begun = time.monotonic()

    def trained(self, workers: int) -> Any:
        """Train with nnU-Net, or load what was trained."""
        register()
        add_origin(self.folder, origin(_device_name(self.device)))
        torch.set_num_threads(self.settings.threads)
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        base = self.prepared.folders.preprocessed / self.settings.dataset
        settings = self.settings
        check_recipe(base, settings, {self.cell.fold}, self.output)
        write_progress(self.folder, "training", epochs=settings.epochs)
        trainer = train(
            self.trainer,
            plans=json.loads((base / f"{self.prepared.plans}.json").read_text("utf-8")),
            dataset=read_description(base),
            configuration=settings.configuration,
            fold=self.cell.fold,
            seed=self.cell.seed,
            length=Length(settings.epochs, settings.iterations, settings.validation_iterations),
            device=self.device,
            workers=workers,
            tell=self._tell,
        )
        losses = _logged(trainer, "train_losses")
        wrong = next((epoch for epoch, loss in enumerate(losses) if not np.isfinite(loss)), None)
        if wrong is not None:
            raise DivergedError(f"The training loss is {losses[wrong]} in epoch {wrong} of {len(losses)}.")
        return trainer

    def judged(self, trainer: Any) -> tuple[SetResult, ...]:
        """Predict and score every set; the masks stay, the probabilities do not."""
        from pathlib import Path  # noqa: PLC0415 - only annotated elsewhere

        model = Path(trainer.output_folder_base)
        description = read_description(model)
        made = None
        judged = []
        for images in self.prepared.sets_of(self.cell.fold):
            self._stage(f"predicting {images.role.value}")
            target = self.folder / "masks" / images.role.value
            if made is None:
                made = predictor(model, self.cell.fold, device=self.device, mirroring=self.settings.mirroring)
            predict_set(made, images, target)
            judged.append(score_set(images, target, description, tolerance=self.settings.tolerance))
        return tuple(judged)

    def result(self, trainer: Any, judged: tuple[SetResult, ...]) -> Result:
        """Put everything together."""
        for one in judged:
            drop_probabilities(self.folder / "masks" / one.role.value)
        starts, ends = (_logged(trainer, f"epoch_{when}_timestamps") for when in ("start", "end"))
        return Result(
            cell=self.cell,
            trainer=self.trainer,
            curves=Curves(
                training_loss=_logged(trainer, "train_losses"),
                validation_loss=_logged(trainer, "val_losses"),
                running_dice=_logged(trainer, "mean_fg_dice"),
            ),
            cost=Cost(
                seconds_per_epoch=tuple(end - start for start, end in zip(starts, ends, strict=True)),
                peak_memory=peak_memory(self.device),
            ),
            sets=judged,
        )

    def _stage(self, stage: str) -> None:
        """Say what comes after the training; its pace still tells how long the other cells will take."""
        before, epochs = read_progress(self.folder), self.settings.epochs
        seconds = before.seconds if before else 0.0
        write_progress(self.folder, stage, epoch=epochs, epochs=epochs, seconds=seconds)

    def _tell(self, news: dict[str, Any]) -> None:
        before = read_progress(self.folder)
        epochs_here = news["epoch"] - (before.epoch if before else 0)
        seconds = (time.monotonic() - self._begun) / max(epochs_here, 1)
        self._begun = time.monotonic()
        write_progress(self.folder, "training", seconds=seconds, **news)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _logged(trainer: Any, key: str) -> tuple[float, ...]:
    """One of nnU-Net's lists with a number for every epoch."""
    return tuple(float(value) for value in trainer.logger.get_value(key, step=None))
