"""Commands of the trainers: list, describe, env, enable, disable, doctor."""

from __future__ import annotations

import json
import os
import shlex
from enum import StrEnum
from typing import Annotated

import typer

from nnunet_losses.ending import ExitCode, leave

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class Shell(StrEnum):
    """Shells that the variable can be set in."""

    SH = "sh"
    FISH = "fish"
    POWERSHELL = "powershell"
    CMD = "cmd"


def list_command(
    pattern: Annotated[
        str,
        typer.Argument(
            metavar="[FILTER]", help="Part of a key or trainer name, or a pattern such as 'dice_*'."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """List losses, their trainers and parameters."""
    from . import listing

    rows = listing.rows(pattern)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        listing.print_table(rows)
    if not rows:
        typer.echo(f"No loss matches {pattern!r}; without a filter all are listed.", err=True)
        raise typer.Exit(ExitCode.FAILED)


def describe_command(
    loss: Annotated[str, typer.Argument(help="Key of a loss, or the name of a trainer.")],
) -> None:
    """Describe one loss: formula, when to use it, what it does on empty labels, parameters, sources."""
    from .describe import find, print_loss

    try:
        spec = find(loss)
    except ValueError as error:
        leave(str(error))
    print_loss(spec)


def env_command(
    shell: Annotated[Shell, typer.Option(help="The shell that will read the line.")] = Shell.SH,
) -> None:
    """Print the line that makes nnU-Net find the trainers in this shell: eval "$(nnunet-losses env)"."""
    from .plugin import VARIABLE, search_path

    value = search_path(os.environ.get(VARIABLE, ""))
    lines = {
        Shell.SH: f"export {VARIABLE}={shlex.quote(value)}",
        Shell.FISH: f"set -gx {VARIABLE} {shlex.quote(value)}",
        Shell.POWERSHELL: f"$env:{VARIABLE} = '{value.replace(chr(39), chr(39) * 2)}'",
        Shell.CMD: f'set "{VARIABLE}={value}"',
    }
    typer.echo(lines[shell])


def enable_command() -> None:
    """Write start-up hooks into this environment: every nnU-Net command in it then finds the trainers."""
    from .plugin import CannotEnableError, enable

    try:
        paths = enable()
    except CannotEnableError as error:
        leave(f"Not enabled. {error}", ExitCode.FAILED)
    for path in paths:
        typer.echo(f"wrote {path}")
    typer.echo('nnUNetv2_train -tr nnUNetTrainerDiceTopK works now. Undo: "nnunet-losses disable".')


def disable_command() -> None:
    """Remove the start-up hooks from this Python environment, the torchvision repair included."""
    from .plugin import CannotEnableError, disable

    try:
        paths = disable()
    except CannotEnableError as error:
        leave(str(error), ExitCode.FAILED)
    for path in paths:
        typer.echo(f"removed {path}")
    if not paths:
        typer.echo("There is nothing to remove.")


def doctor_command(
    mend: Annotated[
        bool, typer.Option("--mend", help="First repair a torchvision that does not fit torch.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is missing or broken in this environment, and how to mend it; exit with 1 if anything is."""
    from . import doctor
    from .findings import State
    from .listing import print_findings

    findings = ([doctor.mend()] if mend else []) + list(doctor.examine())
    broken = any(finding.state is State.BROKEN for finding in findings)
    if as_json:
        records = [vars(finding) for finding in findings]
        typer.echo(json.dumps({"broken": broken, "findings": records}, indent=2))
    else:
        print_findings(findings)
    raise typer.Exit(ExitCode.FAILED if broken else ExitCode.DONE)
