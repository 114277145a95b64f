"""What the demonstration does, and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..reduced_plans import Reduction

if TYPE_CHECKING:
    from pathlib import Path

PLANS = "nnUNetDemoPlans"
LESION = "lesion"
NEEDED_DICE = (
    0.5  # pooled over the lesions of all test cases; below it, a model is of no use to show anything
)


@dataclass(frozen=True)
class Flavour:
    """How a demonstration in two or in three dimensions is made short enough."""

    dimension: int
    configuration: str
    cases: int
    test_cases: int
    epochs: int
    reduction: Reduction


FLAVOURS = {
    2: Flavour(2, "2d", 60, 8, 3, Reduction((8, 16, 32, 64), 1, (64, 64), 4)),
    3: Flavour(3, "3d_fullres", 24, 6, 5, Reduction((8, 16, 32), 1, (16, 32, 32), 2)),
}


@dataclass(frozen=True)
class Plan:
    """Settings of one demonstration."""

    output: Path
    flavour: Flavour
    seed: int = 0
    losses: tuple[str, str] = ("DiceTopK", "Tversky")

    dataset_id = 901
    dataset = "Dataset901_Phantom"

    @property
    def trainers(self) -> tuple[str, ...]:
        """Names of the two trainers, as nnU-Net is told them."""
        return tuple(f"nnUNetTrainer{loss}_{self.flavour.epochs}epochs" for loss in self.losses)

    @property
    def raw(self) -> Path:
        """The data set as it was drawn."""
        return self.output / "nnUNet_raw" / self.dataset

    @property
    def preprocessed(self) -> Path:
        """The data set as nnU-Net prepared it."""
        return self.output / "nnUNet_preprocessed" / self.dataset

    @property
    def ending(self) -> str:
        """Ending of image files."""
        return ".png" if self.flavour.dimension == 2 else ".nii.gz"

    def model_folder(self, trainer: str) -> Path:
        """Where nnU-Net leaves the trained model."""
        name = f"{trainer}__{PLANS}__{self.flavour.configuration}"
        return self.output / "nnUNet_results" / self.dataset / name

    def bundle(self, trainer: str) -> Path:
        """Where the exported model lies; its last part is the model's name."""
        return self.output / "bundles" / trainer.removeprefix("nnUNetTrainer")

    def predictions(self, trainer: str) -> Path:
        """Where ``nnunet-losses predict`` leaves masks and answers."""
        return self.output / "predictions" / self.bundle(trainer).name

    def environment(self) -> dict[str, str]:
        """Return nnU-Net's folders, and how many processes load data in training."""
        kinds = ("raw", "preprocessed", "results")
        folders = {f"nnUNet_{kind}": str(self.output / f"nnUNet_{kind}") for kind in kinds}
        return {**folders, "nnUNet_n_proc_DA": "1"}
