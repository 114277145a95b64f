"""Files of a cell: how far it is, what came out, why it failed. Each is written in one step."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nnunet_losses.trainers.files import write_atomically

from .sets import Role  # noqa: TC001 - pydantic reads it
from .study import Cell  # noqa: TC001 - likewise

if TYPE_CHECKING:
    from pathlib import Path

RESULT_FILE = "result.json"
FAILURE_FILE = "failure.json"
PROGRESS_FILE = "progress.json"
LOG_FILE = "log.txt"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SetResult(_Record):
    """One set of images.

    Attributes:
        role: of the set.
        cases: see ``records``; empty for sets without references.
        strangeness: by case, see ``scoring.strangeness``.
    """

    role: Role
    cases: tuple[dict[str, Any], ...]
    strangeness: dict[str, float]


class Curves(_Record):
    """nnU-Net's running figures, one per epoch."""

    training_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    running_dice: tuple[float, ...]


class Cost(_Record):
    """What a cell cost; the only figures that differ when it is run again."""

    seconds_per_epoch: tuple[float, ...]
    peak_memory: int


class Result(_Record):
    """Everything that came out of one cell."""

    cell: Cell
    trainer: str
    curves: Curves
    cost: Cost
    sets: tuple[SetResult, ...]


class Failure(_Record):
    """Why a cell has no result."""

    reason: str
    details: str = ""


class Progress(_Record):
    """How far a cell is. ``stage``: "training", "predicting", "scoring"; ``seconds``: of an epoch."""

    stage: str
    epoch: int = 0
    epochs: int = 0
    seconds: float = 0.0
    updated: float = 0.0


def write_result(folder: Path, result: Result) -> None:
    """Write the result; from now on the cell is done."""
    write_atomically(folder / RESULT_FILE, result.model_dump_json() + "\n")
    (folder / FAILURE_FILE).unlink(missing_ok=True)


def read_result(folder: Path) -> Result | None:
    """Read the result; None while there is none, or where it is of another version and must be made anew."""
    found: Result | None = _read(folder / RESULT_FILE, Result)
    return found


def write_failure(folder: Path, reason: str, details: str = "") -> None:
    """Write why a cell failed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / FAILURE_FILE, Failure(reason=reason, details=details).model_dump_json() + "\n")


def read_failure(folder: Path) -> Failure | None:
    """Read why a cell failed; None if it did not."""
    found: Failure | None = _read(folder / FAILURE_FILE, Failure)
    return found


def write_progress(folder: Path, stage: str, **further: Any) -> None:
    """Write how far a cell is."""
    progress = Progress(stage=stage, updated=time.time(), **further)
    write_atomically(folder / PROGRESS_FILE, progress.model_dump_json())


def read_progress(folder: Path) -> Progress | None:
    """Read how far a cell is; None before it began."""
    found: Progress | None = _read(folder / PROGRESS_FILE, Progress)
    return found


def _read(file: Path, model: type[Any]) -> Any:
    try:
        return model.model_validate(json.loads(file.read_bytes()))
    except (FileNotFoundError, ValidationError, ValueError):
        return None
