"""Findings about Python, nnU-Net's environment variables and our start-up hooks."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .doctor_training import is_installed
from .findings import Finding, State
from .plugin import VARIABLE, enabled

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
# variable -> (value that is a trap, what happens, what to do)
_TRAPS = {
    "nnUNet_n_proc_DA": (
        0,
        "training works, but planning and preprocessing fail",
        "set it to 1 or more for planning",
    ),
    "nnUNet_def_n_proc": (
        1,
        "nnU-Net predicts on the CPU with a single thread",
        "set it to the number of cores",
    ),
}


def python_version() -> Finding:
    """Whether this Python is supported."""
    text = f"{sys.version.split()[0]} in {sys.prefix}"
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("Python", State.OK, text)
    return Finding("Python", State.WARNING, f"{text} is outside 3.11 to 3.13", "use one of these")


def examine() -> Iterator[Finding]:
    """Yield the findings about variables and hooks."""
    if is_installed("nnunetv2"):
        yield from map(_folder, _FOLDERS)
        yield from (finding for name in _TRAPS for finding in _processes(name))
        yield from _foreign_folders()
    yield _hooks()


def _folder(name: str) -> Finding:
    value = os.environ.get(name)
    if not value:
        return Finding(
            name, State.WARNING, "not set", f"export {name}=/a/folder (nnU-Net's commands need it)"
        )
    if not Path(value).is_dir():
        return Finding(
            name, State.WARNING, f"{value} does not exist", f"mkdir -p {value}, or correct the variable"
        )
    return Finding(name, State.OK, value)


def _processes(name: str) -> Iterator[Finding]:
    value = os.environ.get(name)
    trap, effect, remedy = _TRAPS[name]
    if value is None:
        return
    if not value.isdigit():
        yield Finding(name, State.BROKEN, f"{value!r} is not a whole number", "correct or unset it")
    elif int(value) == trap:
        yield Finding(name, State.WARNING, f"{value}: {effect}", remedy)


def _foreign_folders() -> Iterator[Finding]:
    for folder in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        if not Path(folder).is_dir():
            yield Finding(VARIABLE, State.WARNING, f"{folder} does not exist", "correct the variable")


def _hooks() -> Finding:
    names = ", ".join(path.name for path in enabled())
    return Finding(
        "start-up hooks",
        State.OK if names else State.NOTE,
        names or "none (nnunet-losses enable writes them)",
    )
