"""``nnunet-losses compare``, ``compare-cell`` and ``compare-report``."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from nnunet_losses.ending import ExitCode, leave
from nnunet_losses.interruption import INTERRUPTION

from .many_values import ManyValues


class Executor(StrEnum):
    """Where the cells run."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


OutputFolder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder of a comparison.")]
Folder = Annotated[Path | None, typer.Option(exists=True, file_okay=False)]


def compare_command(
    dataset: Annotated[
        str, typer.Argument(help="Raw data set of nnU-Net: its folder, or its number or name in nnUNet_raw.")
    ],
    *,
    losses: Annotated[
        list[str],
        typer.Option(
            help="Losses to compare: keys of 'nnunet-losses list', or with parameters: Dice_smooth1em7."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for everything.")],
    configuration: Annotated[str, typer.Option("--configuration", "-c", help="Of nnU-Net.")] = "2d",
    folds: Annotated[list[int] | None, typer.Option(help="Of nnU-Net's splits.", show_default="0")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many trainings of each loss and fold.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 1000,
    iterations_per_epoch: Annotated[int, typer.Option(min=1, help="Batches in an epoch.")] = 250,
    validation_iterations: Annotated[
        int, typer.Option(min=1, help="Batches of the running validation after each epoch.")
    ] = 50,
    variant: Annotated[
        str | None, typer.Option(help="Trainer variant of nnU-Net for all losses, such as NoMirroring.")
    ] = None,
    plans: Annotated[str, typer.Option(help="Of nnU-Net.")] = "nnUNetPlans",
    features: Annotated[
        list[int] | None,
        typer.Option(help="A smaller network: channels of each stage.", show_default="as planned"),
    ] = None,
    convolutions: Annotated[int, typer.Option(min=1, help="With --features: convolutions in a stage.")] = 1,
    patch: Annotated[
        list[int] | None, typer.Option(help="Largest patch (z) y x.", show_default="as planned")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Batch size.", show_default="as planned")] = None,
    test: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            show_default="imagesTs and labelsTs of the data set",
            help="Folder with imagesTs and labelsTs, or images and labels.",
        ),
    ] = None,
    negatives: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Images without anything to find.")
    ] = None,
    ood: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Images of another kind, for the OoD AUROC."),
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Of NSD, in millimetres (pixels).")] = 1.0,
    mirroring: Annotated[bool, typer.Option(help="Average predictions over mirrored images.")] = True,
    device: Annotated[str, typer.Option(help="auto, cuda, cpu or mps.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch in each cell.")] = 1,
    executor: Annotated[Executor, typer.Option(help="slurm prints a script.")] = Executor.LOCAL,
    slots: Annotated[
        int | None, typer.Option(min=1, help="Cells at once, local.", show_default="GPUs, or 1")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that augment, in each cell.")] = 0,
    ray_address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster.", show_default="a local one")
    ] = None,
    note: Annotated[str, typer.Option(help="Stands at the top of the report.")] = "",
) -> None:
    """Train losses alike, judge them, and report: which one for my data?

    Killed at any moment, the same command goes on where it was. More losses, folds or seeds in the same
    folder add to it. Exits with 1 where a cell failed; the report names it and its reason.
    """
    from .run import Request, Where, compare
    from .study import Network

    network = Network(features=features and tuple(features), convolutions=convolutions if features else 1,
                      patch=patch and tuple(patch), batch=batch)  # fmt: skip
    where = Where(executor.value, slots=slots, workers=workers, ray_address=ray_address)
    try:
        settings = {
            "configuration": configuration,
            "plans": plans,
            "network": network,
            "epochs": epochs,
            "iterations": iterations_per_epoch,
            "validation_iterations": validation_iterations,
            "variant": variant,
            "device": device,
            "threads": threads,
            "tolerance": tolerance,
            "mirroring": mirroring,
        }
        request = Request(dataset=dataset, losses=tuple(losses), folds=tuple(folds or [0]), seeds=seeds,
                          settings=settings, test=test, negatives=negatives, ood=ood, note=note)  # fmt: skip
        succeeded = compare(request, output, where)
    except (ValueError, OSError) as error:
        _leave_at_once(f"Error: {_message(error)}", ExitCode.USAGE)
    except KeyboardInterrupt:
        _leave_at_once("interrupted; the same command goes on where it was", INTERRUPTION.exit_code)
    raise typer.Exit(ExitCode.DONE if succeeded else ExitCode.FAILED)


compare_command.__dict__["command_class"] = ManyValues


def compare_cell_command(
    output: OutputFolder,
    cell: Annotated[str, typer.Argument(help="Number of a cell, or its name.")],
    workers: Annotated[int, typer.Option(min=0, help="Processes that augment.")] = 0,
) -> None:
    """Run one cell of a comparison, as a job of an array does."""
    from .worker import find_cell, run

    try:
        found = find_cell(output, cell)
    except ValueError as error:
        leave(_message(error))
    sys.exit(run(output, found, workers=workers))


def compare_report_command(output: OutputFolder) -> None:
    """Write the report of a comparison from the cells that are done."""
    from .run import report

    try:
        page = report(output)
    except (ValueError, OSError) as error:
        leave(_message(error))
    typer.echo(f"wrote {page}")


def _leave_at_once(message: str, status: int) -> NoReturn:
    """End at once: running cells end with this process, and go on with the next one."""
    typer.echo(message, err=True)
    sys.stdout.flush()
    os._exit(status)


def _message(error: ValueError | OSError) -> str:
    """Without pydantic's frame, which speaks of our classes."""
    from pydantic import ValidationError

    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}; mend that, or give another folder"

    if isinstance(error, ValidationError):
        return "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
    return str(error)
