"""nnU-Net's training of one cell: seeded, shortened, and the same whether it was interrupted or not."""

from __future__ import annotations

import os
import resource
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses import trainers

from .batches import SeededBatches, seed_all

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

_WEIGHTS, _TRAINING, _TRAIN_BATCHES, _VALIDATION_BATCHES = range(4)  # streams of random numbers
_WORKERS = "nnUNet_n_proc_DA"
CHECKPOINT = "checkpoint_latest.pth"
FINAL = "checkpoint_final.pth"


@dataclass(frozen=True)
class Length:
    """How long a training is.

    Attributes:
        epochs: of nnU-Net's schedule.
        iterations: batches per epoch.
        validation_iterations: batches per epoch for nnU-Net's running validation.
    """

    epochs: int
    iterations: int = 250
    validation_iterations: int = 50


class SeededTraining:
    """Mixed into a trainer: all that is random follows from a seed, and every epoch can be the last seen.

    Initial weights, and in each epoch the batches and whatever the network draws, follow from
    ``(seed, epoch)``. Checkpoints are written after every epoch and in one step, so that one read is whole.
    Attributes are set before ``initialize``, because nnU-Net dictates the constructor.
    """

    seed: int
    length: Length
    workers: int
    tell: Callable[[dict[str, Any]], None]

    def prepare(self, *, seed: int, length: Length, workers: int, tell: Callable[..., None]) -> None:
        """Set what nnU-Net's constructor cannot take."""
        self.seed, self.length, self.workers, self.tell = seed, length, workers, tell
        self.num_iterations_per_epoch = length.iterations
        self.num_val_iterations_per_epoch = length.validation_iterations
        self.save_every = 1

    def initialize(self) -> None:
        """Make the network, its weights by the seed."""
        seed_all(self.seed, _WEIGHTS)
        super().initialize()  # type: ignore[misc]  # the trainer's
        self.logger.plot_progress_png = _no_picture  # type: ignore[attr-defined]  # takes longer than a short epoch

    def get_dataloaders(self) -> tuple[SeededBatches, SeededBatches]:
        """Take nnU-Net's data loaders, and seed each batch."""
        before = os.environ.get(_WORKERS)
        os.environ[_WORKERS] = "0"  # its own worker processes give batches in any order
        try:
            loaders = super().get_dataloaders()  # type: ignore[misc]  # the trainer's
        finally:
            os.environ.pop(_WORKERS)
            os.environ.update({} if before is None else {_WORKERS: before})
        streams = (
            (_TRAIN_BATCHES, self.length.iterations, self.workers),
            (_VALIDATION_BATCHES, self.length.validation_iterations, min(self.workers, 1)),
        )
        train, validation = (
            self._seeded(loader, *stream) for loader, stream in zip(loaders, streams, strict=True)
        )
        return train, validation

    def _seeded(self, augmenter: Any, stream: int, per_epoch: int, workers: int) -> SeededBatches:
        first: int = self.current_epoch  # type: ignore[attr-defined]  # the trainer's
        numbers = range(first * per_epoch, self.length.epochs * per_epoch)
        loader = augmenter.data_loader
        return SeededBatches(loader, seed=self.seed, stream=stream, numbers=numbers, workers=workers)

    def on_train_epoch_start(self) -> None:
        """Begin an epoch, its random numbers by the seed."""
        seed_all(self.seed, _TRAINING, self.current_epoch)  # type: ignore[attr-defined]  # the trainer's
        super().on_train_epoch_start()  # type: ignore[misc]  # the trainer's

    def on_epoch_end(self) -> None:
        """End an epoch, and say how far it is."""
        super().on_epoch_end()  # type: ignore[misc]  # the trainer's
        self.tell({"epoch": self.current_epoch, "epochs": self.length.epochs})  # type: ignore[attr-defined]  # the trainer's

    def save_checkpoint(self, filename: str) -> None:
        """Write a checkpoint in one step: a killed process leaves the one before."""
        if Path(filename).name == "checkpoint_best.pth":
            return  # the final one is judged
        partial = f"{filename}.partial"
        super().save_checkpoint(partial)  # type: ignore[misc]  # the trainer's
        Path(partial).replace(filename)


def train(  # noqa: PLR0913 - each is a thing of its own
    trainer_name: str,
    *,
    plans: dict[str, Any],
    dataset: dict[str, Any],
    configuration: str,
    fold: int,
    seed: int,
    length: Length,
    device: torch.device,
    workers: int = 0,
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Any:
    """Train, or go on where a training was interrupted; return the trainer.

    Where it trains is said by ``nnUNet_results`` when nnU-Net is first imported.

    Args:
        trainer_name: of this package, see ``trainers``; its number of epochs is ``length.epochs``.
        plans: nnU-Net's.
        dataset: nnU-Net's ``dataset.json``.
        configuration: such as "2d".
        fold: of nnU-Net's splits.
        seed: at least 0.
        length: of the training.
        device: to train on.
        workers: processes that augment.
        tell: is told after each epoch how far the training is.
    """
    base = getattr(trainers, trainer_name)
    made = type(trainer_name, (SeededTraining, base), {"__module__": __name__})
    logger_setting = {"continue_training": False}  # nnU-Net's own command hands it over in the plans, too
    trainer = made({**plans, **logger_setting}, configuration, fold, dataset, device)
    trainer.prepare(seed=seed, length=length, workers=workers, tell=tell)
    folder = Path(trainer.output_folder)
    checkpoint = next((folder / name for name in (FINAL, CHECKPOINT) if _is_whole(folder / name)), None)
    trainer.initialize()
    if checkpoint is not None:
        trainer.load_checkpoint(str(checkpoint))
    if checkpoint is None or checkpoint.name != FINAL:
        trainer.run_training()
    return trainer


def _is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint can be read; what a crash of the machine cut short is trained again."""
    if not checkpoint.is_file():
        return False
    try:
        with zipfile.ZipFile(checkpoint) as file:
            damaged = file.testzip()
    except zipfile.BadZipFile as error:
        damaged = str(error)
    if damaged:
        print(f"{checkpoint} is damaged ({damaged}); it is trained again.")  # noqa: T201 - into the cell's log
    return not damaged


def peak_memory(device: torch.device) -> int:
    """Bytes: of the device where it has a memory of its own, else of this process."""
    import torch  # noqa: PLC0415 - light to import without it

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _no_picture(_folder: str) -> None:
    """Take the place of nnU-Net's drawing of curves."""
