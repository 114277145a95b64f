"""How a command ends: exit codes and last words, alike in every room; ``docs/exit_codes.md`` has a table."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import typer


class ExitCode(IntEnum):
    """What the shell learns of a command."""

    DONE = 0
    FAILED = 1  # something broke, or a check that the command makes did not pass
    USAGE = 2  # what was typed, or what it names, cannot be used: click's own code for usage errors
    REJECTED = 3  # images were understood, and are not what the model was made for
    INTERRUPTED = 130  # by Ctrl-C, as shells have it: 128 and the signal's number


def leave(message: str, code: ExitCode = ExitCode.USAGE) -> NoReturn:
    """End the command with a sentence on the error stream.

    Args:
        message: what was seen, what was expected, and what to do.
        code: which kind of end it is.

    Raises:
        typer.Exit: always; it carries the code.

    Example:
        >>> try:
        ...     leave("There is no file a.nii.gz. Name one that exists.")
        ... except typer.Exit as end:
        ...     end.exit_code
        <ExitCode.USAGE: 2>
    """
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)
