"""What ``nnunet-losses phantom`` does: check, write, and say what to type next."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import typer
from rich.console import Console

from .phantom_files import is_phantom_dataset, write_dataset
from .phantom_settings import Phantom

if TYPE_CHECKING:
    from pathlib import Path

    from .phantom_settings import Labelling


@dataclass(frozen=True)
class Request:
    """What was typed."""

    folder: Path
    name: str
    counts: tuple[int, int]  # training cases, test cases
    lesion_free: float
    seed: int
    dimension: int
    lesions: int
    labels: str
    size: str | None
    spacing: str | None
    channels: str
    overwrite: bool

    def settings(self) -> Phantom:
        """Return the settings of the images."""
        default = Phantom.of_dimension(self.dimension)
        size = _numbers("--size", self.size, self.dimension)
        return replace(
            default,
            size=tuple(int(n) for n in size) if size else default.size,
            spacing=_numbers("--spacing", self.spacing, self.dimension) or default.spacing,
            lesions=(1, self.lesions),
            labelling=cast("Labelling", self.labels),
            channels=_names("--channels", self.channels),
        )


def run(request: Request) -> None:
    """Write the data set and say so; a wrong request ends the command with status 2."""
    try:
        settings = request.settings()
        _make_room(request)
        cases, test_cases = request.counts
        target = write_dataset(
            request.folder,
            cases=cases,
            test_cases=test_cases,
            lesion_free=request.lesion_free,
            seed=request.seed,
            name=request.name,
            settings=settings,
        )
    except (ValueError, FileExistsError) as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        reason = f"{request.folder} cannot be written to: {error.strerror}. Name another folder."
        raise typer.BadParameter(reason) from error
    _report(request, target)


def _numbers(option: str, text: str | None, dimension: int) -> tuple[float, ...]:
    """Parse ``4,1,1``; one number stands for all axes."""
    if text is None:
        return ()
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"{option} takes numbers with commas between them, not {text!r}.") from error
    if len(numbers) not in (1, dimension):
        raise ValueError(
            f"{option} takes 1 or {dimension} numbers in {dimension}D, got {len(numbers)}: {text}."
        )
    return numbers * dimension if len(numbers) == 1 else numbers


def _names(option: str, text: str) -> tuple[str, ...]:
    """Parse ``T1,T2``."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError(f"{option} takes names with commas between them, like T1,T2; not {text!r}.")
    return names


def _make_room(request: Request) -> None:
    """With ``--overwrite``, remove an earlier phantom data set; never anything else."""
    target = request.folder / request.name
    if not target.exists():
        return
    if not request.overwrite:
        raise FileExistsError(
            f"{target} exists. Add --overwrite to replace it, or choose another --dataset-id."
        )
    if not is_phantom_dataset(target):
        raise FileExistsError(f"{target} was not written by this command, and is left alone.")
    shutil.rmtree(target)


def _report(request: Request, target: Path) -> None:
    cases, test_cases = request.counts
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"Wrote {cases} training and {test_cases} test cases to [bold]{target}[/bold]")
    console.print(f"Lesions and volumes of every case: {target / 'cases.csv'}\n\nNext:")
    console.print(_next_commands(request), style="cyan")


def _next_commands(request: Request) -> str:
    """Return what to type from here to a bundle."""
    raw = request.folder.resolve()
    number = int(request.name[7:10])
    configuration = "2d" if request.dimension == 2 else "3d_fullres"
    trainer = "nnUNetTrainerDiceTopK_20epochs"
    model = f"{request.name}/{trainer}__nnUNetPlans__{configuration}"
    clean = (
        " --clean" if request.overwrite else ""
    )  # or nnU-Net would keep what it learnt of the earlier images
    return f"""\
export nnUNet_raw={raw}
export nnUNet_preprocessed={raw.parent / "nnUNet_preprocessed"}
export nnUNet_results={raw.parent / "nnUNet_results"}
nnUNetv2_plan_and_preprocess -d {number} -c {configuration} --verify_dataset_integrity{clean}
eval "$(nnunet-losses env)"
nnUNetv2_train {number} {configuration} 0 -tr {trainer}    # without a GPU: -device cpu
nnunet-losses export "$nnUNet_results/{model}" bundle --folds 0"""
