"""``nnunet-losses triton``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the signature
from typing import Annotated, NoReturn

import typer


def triton_command(
    bundle: Annotated[Path, typer.Argument(help="What nnunet-losses export wrote: a folder or an archive.")],
    folder: Annotated[Path, typer.Argument(help="The Triton model repository.", file_okay=False)],
) -> None:
    """Write a Triton model repository of a bundle's tile networks. Needs neither PyTorch nor nnU-Net.

    Triton runs the network on tiles; reading, preprocessing, tiles, blending and labels stay with its client.
    A network whose model is already there becomes its next version.
    """
    write_repository(bundle, folder)


def write_repository(bundle: Path, folder: Path) -> None:
    """Write the repository and print its models; ends the command with 2 on errors."""
    from nnunet_losses.serve.bundle import Bundle  # noqa: PLC0415 - commands import their room lazily
    from nnunet_losses.serve.errors import Refusal  # noqa: PLC0415

    from .errors import ExportError  # noqa: PLC0415
    from .triton import write_triton  # noqa: PLC0415

    try:
        models = write_triton(Bundle.load(bundle), folder)
    except (ExportError, Refusal) as error:
        _stop(str(error))
    for model in models:
        typer.echo(model)


def _stop(message: str) -> NoReturn:
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)
