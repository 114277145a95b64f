"""``nnunet-losses triton``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the signature
from typing import Annotated

import typer

from nnunet_losses.ending import leave


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
    """Write the repository and print its models; on errors the command ends."""
    from nnunet_losses.serve.bundle import Bundle  # noqa: PLC0415 - commands import their room lazily
    from nnunet_losses.serve.errors import Refusal  # noqa: PLC0415
    from nnunet_losses.serve.exit_codes import exit_code_of  # noqa: PLC0415

    from .errors import ExportError  # noqa: PLC0415
    from .triton import write_triton  # noqa: PLC0415

    try:
        models = write_triton(Bundle.load(bundle), folder)
    except ExportError as error:
        leave(str(error), error.exit_code)
    except Refusal as refusal:
        leave(str(refusal), exit_code_of(refusal))
    for model in models:
        typer.echo(model)
