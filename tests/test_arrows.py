"""Who may know whom: the arrows of the house, read from the import statements."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# room -> rooms that it may import, besides itself; "losses" is the package nnunet_losses itself
ALLOWED = {
    "losses": set(),
    "trainers": {"losses"},
    "serve": set(),
    "export": {"losses", "trainers", "serve"},
    "compare": {"losses", "trainers", "serve", "export"},
}
FOLDERS = {
    "losses": "nnunet_losses",
    "trainers": "trainers",
    "serve": "serve",
    "export": "export",
    "compare": "compare",
}
TRAINING_PACKAGES = {"torch", "nnunetv2", "skimage", "batchgenerators", "batchgeneratorsv2", "onnx"}
FORBIDDEN_PACKAGES = {"losses": {"nnunetv2", "onnx", "fastapi"}, "serve": TRAINING_PACKAGES}
# in the same words everywhere: how to install what is missing, and how a command ends
EVERYBODYS = ("nnunet_losses.extras.", "nnunet_losses.ending.")
COMMAND_LINE = "cli.py"  # names the rooms' commands as strings and imports none of them


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "nnunet_losses":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "losses"


@pytest.mark.parametrize("room", FOLDERS)
def test_rooms_import_only_their_neighbours(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / FOLDERS[room]).rglob("*.py")
        for module in imported_modules(path)
        if room_of(module) not in {None, room, *ALLOWED[room]} and not module.startswith(EVERYBODYS)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", [*FOLDERS.values(), "tests", "tools", "benchmarks"])
def test_nobody_uses_the_short_names(folder: str) -> None:
    """At the checkout's root ``import serve`` works too, and gives a second copy of every class."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / folder).rglob("*.py")
        for module in imported_modules(path)
        if module.split(".")[0] in {"trainers", "export", "serve"}
    ]
    assert wrong == []


@pytest.mark.parametrize("room", FORBIDDEN_PACKAGES)
def test_rooms_stay_light(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / FOLDERS[room]).rglob("*.py")
        for module in imported_modules(path)
        if module.split(".")[0] in FORBIDDEN_PACKAGES[room]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "statement",
    [
        "import nnunet_losses",
        "import nnunet_losses.cli",
        "import nnunet_losses.serve.predictor",
        "import nnunet_losses.serve.http.app",
        "import nnunet_losses.trainers.commands, nnunet_losses.export.commands, nnunet_losses.serve.commands",
    ],
)
def test_importing_needs_no_torch(statement: str) -> None:
    check = f"{statement}; import sys; print(sorted({TRAINING_PACKAGES!r} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd="/"
    )
    assert result.stdout.strip() == "[]"
