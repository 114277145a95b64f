"""The command of this room: ``nnunet-losses phantom``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def phantom_command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Where nnU-Net keeps raw data (nnUNet_raw). Made when missing."),
    ],
    *,
    dimension: Annotated[int, typer.Option(help="2 (PNG) or 3 (NIfTI).", min=2, max=3)] = 3,
    cases: Annotated[int, typer.Option(help="Training cases.", min=1)] = 20,
    test_cases: Annotated[int, typer.Option(help="Test cases; their labels are written too.", min=0)] = 5,
    lesion_free: Annotated[float, typer.Option(help="Share of cases without a lesion.", min=0, max=1)] = 0.3,
    lesions: Annotated[int, typer.Option(help="Most lesions in one case.", min=1)] = 4,
    labels: Annotated[str, typer.Option(help="organ_lesion, lesion, or regions.")] = "organ_lesion",
    size: Annotated[
        str | None,
        typer.Option(help="Voxels along (z,) y, x, like 96,96 or 32,48,48; one number for all axes."),
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(help="Millimetres along (z,) y, x, like 4,1,1 for thick slices.")
    ] = None,
    channels: Annotated[str, typer.Option(help="Names of the channels, like T1,T2.")] = "MRI",
    dataset_id: Annotated[int, typer.Option(help="nnU-Net's number of the data set.", min=1, max=999)] = 901,
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "Phantom",
    seed: Annotated[int, typer.Option(help="The same seed writes the same files.", min=0)] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier phantom data set.")
    ] = False,
) -> None:
    """Write a data set of procedural images: bodies with an organ, with or without lesions."""
    from .phantom_command import Request, run

    run(
        Request(
            folder=folder,
            name=f"Dataset{dataset_id:03d}_{name}",
            counts=(cases, test_cases),
            lesion_free=lesion_free,
            seed=seed,
            dimension=dimension,
            lesions=lesions,
            labels=labels,
            size=size,
            spacing=spacing,
            channels=channels,
            overwrite=overwrite,
        )
    )
