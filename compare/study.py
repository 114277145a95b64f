"""A comparison: which losses, folds and seeds, and everything else that all of its cells share."""

from __future__ import annotations

import difflib
from pathlib import Path  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.trainers.files import write_atomically
from nnunet_losses.trainers.names import PREFIX, Configuration, TrainerNameError, format_name, parse

if TYPE_CHECKING:
    from collections.abc import Sequence

STUDY_FILE = "study.json"
PREPARED_FILE = "prepared.json"


class StudyError(ValueError):
    """A comparison that cannot be made as it was asked for; the message says why and what to do."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Record):
    """A smaller network, patch and batch than nnU-Net plans; None keeps what it plans.

    Attributes:
        features: channels of each stage; as many stages are kept.
        convolutions: per stage.
        patch: voxels along the axes of the configuration.
        batch: images in a batch.
    """

    features: tuple[int, ...] | None = None
    convolutions: int = 1
    patch: tuple[int, ...] | None = None
    batch: int | None = None

    @property
    def is_planned(self) -> bool:
        """Whether nnU-Net's own plans are used."""
        return self == Network()


class Settings(_Record):
    """What the figures of a comparison depend on, besides loss, fold and seed.

    Attributes:
        dataset: nnU-Net's name, such as "Dataset501_Polyps".
        configuration: nnU-Net's, such as "2d".
        plans: nnU-Net's name of the plans.
        network: how they are made smaller.
        epochs: of each training.
        iterations: batches per epoch.
        validation_iterations: batches per epoch of nnU-Net's running validation.
        variant: trainer variant of nnU-Net that every loss is combined with.
        device: "cpu", "cuda" or "mps".
        threads: of PyTorch on the CPU; sums in another order are other sums.
        tolerance: of NSD.
        mirroring: whether predictions are averaged over mirrored images.
    """

    dataset: str
    configuration: str
    plans: str = "nnUNetPlans"
    network: Network = Network()
    epochs: Annotated[int, Field(ge=1)] = 1000
    iterations: Annotated[int, Field(ge=1)] = 250
    validation_iterations: Annotated[int, Field(ge=1)] = 50
    variant: str | None = None
    device: str = "cpu"
    threads: Annotated[int, Field(ge=1)] = 1
    tolerance: Annotated[float, Field(ge=0)] = 1.0
    mirroring: bool = True


class Cell(_Record):
    """One training: a loss on a fold with a seed."""

    loss: str
    fold: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]

    @property
    def name(self) -> str:
        """Of its folder.

        Example:
            >>> Cell(loss="dice_ce", fold=0, seed=1).name
            'dice_ce__fold_0__seed_1'
        """
        return f"{self.loss}__fold_{self.fold}__seed_{self.seed}"

    def folder(self, output: Path) -> Path:
        """Where everything about it is written."""
        return output / "cells" / self.name


class Study(_Record):
    """Settings, and the cells in the order in which they are run: every loss once before any comes twice."""

    settings: Settings
    losses: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, values in (("losses", self.losses), ("folds", self.folds), ("seeds", self.seeds)):
            if not values or len(set(values)) != len(values):
                raise ValueError(f"the {name} are {list(values)}; give at least one, and each once")
        if min(self.folds) < 0:
            raise ValueError(f"the folds are {list(self.folds)}; they are counted from 0")
        _check_distinct(self.losses, self.settings)
        return self

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All of them."""
        return tuple(
            Cell(loss=loss, fold=fold, seed=seed)
            for seed in self.seeds
            for fold in self.folds
            for loss in self.losses
        )

    def joined(self, earlier: Study) -> Study:
        """Add the cells of an earlier run in the same folder, so that none is forgotten.

        Raises:
            StudyError: its settings are others; their figures must not be mixed.
        """
        if earlier.settings != self.settings:
            raise StudyError(_difference(earlier.settings, self.settings))
        merged = {
            name: tuple(dict.fromkeys([*getattr(earlier, name), *getattr(self, name)]))
            for name in ("losses", "folds", "seeds")
        }
        return Study(settings=self.settings, **merged)

    def write(self, output: Path) -> None:
        """Write it into the output folder."""
        output.mkdir(parents=True, exist_ok=True)
        write_atomically(output / STUDY_FILE, self.model_dump_json(indent=2) + "\n")


def read_study(output: Path) -> Study:
    """Read the study of an output folder.

    Raises:
        StudyError: there is none, or it is damaged.
    """
    try:
        return Study.model_validate_json((output / STUDY_FILE).read_bytes())
    except FileNotFoundError as error:
        raise StudyError(f"{output} holds no {STUDY_FILE}; run nnunet-losses compare first") from error
    except ValidationError as error:
        reason = f"{output / STUDY_FILE} is damaged: {error.errors()[0]['msg']}"
        raise StudyError(
            f"{reason}; delete it, and nnunet-losses compare writes it again; no training is lost"
        ) from error


def loss_configuration(loss: str) -> Configuration:
    """Read a loss as the command line names it: a key, or the end of a trainer's name with parameters.

    Raises:
        StudyError: unknown loss, or a name with a variant or a number of epochs.

    Example:
        >>> loss_configuration("dice_ce").loss, loss_configuration("Tversky_fp0p2_fn0p8").parameters
        ('dice_ce', {'fp': 0.2, 'fn': 0.8})
    """
    if loss in list_losses():
        return Configuration(loss)
    try:
        found = parse(PREFIX + loss.removeprefix(PREFIX))
    except TrainerNameError as error:
        meant = " or ".join(difflib.get_close_matches(loss.lower(), list_losses(), n=3))
        remedy = f"did you mean {meant}? " if meant else ""
        remedy += (
            "nnunet-losses list shows all; parameters are written as in a trainer's name: Dice_smooth1em7"
        )
        why = str(error).rstrip(".")
        raise StudyError(f"the loss {loss!r} is unknown ({why}); {remedy}") from error
    if found != Configuration(found.loss, found.parameters):
        raise StudyError(
            f"{loss!r} names a variant or epochs, which all losses share: use --variant, --epochs"
        )
    return found


def some(names: Sequence[str], between: str = ", ", *, most: int = 5) -> str:
    """Name a few things, and say how many more there are.

    Example:
        >>> some(["a", "b"]), some(list("abcdefg"))
        ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def trainer_name(loss: str, settings: Settings) -> str:
    """Name of the trainer of a loss under some settings.

    Example:
        >>> trainer_name("dice_ce", Settings(dataset="Dataset001_A", configuration="2d", epochs=5))
        'nnUNetTrainerDiceCE_5epochs'
    """
    found = loss_configuration(loss)
    return format_name(Configuration(found.loss, found.parameters, settings.variant, settings.epochs))


def title(loss: str) -> str:
    """How reports call a loss: its trainer's short name.

    Example:
        >>> title("dice_ce"), title("Dice_smooth1em7")
        ('DiceCE', 'Dice_smooth1em7')
    """
    return get_loss_spec(loss).trainer if loss in list_losses() else loss.removeprefix(PREFIX)


def _check_distinct(losses: tuple[str, ...], settings: Settings) -> None:
    """Refuse a loss that is named in two ways: it would be compared with itself."""
    names: dict[str, str] = {}
    for loss in losses:
        trainer = trainer_name(loss, settings)
        if trainer in names:
            raise ValueError(f"{names[trainer]} and {loss} are the same loss; give one of them")
        names[trainer] = loss


def _difference(earlier: Settings, now: Settings) -> str:
    changed = [
        f"{name} was {getattr(earlier, name)}, now {getattr(now, name)}"
        for name in Settings.model_fields
        if getattr(earlier, name) != getattr(now, name)
    ]
    return (
        f"the output folder holds a comparison with other settings ({'; '.join(changed)}); "
        "take another folder, or the same settings"
    )
