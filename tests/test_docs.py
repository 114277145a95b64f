"""What the documents show works: Python blocks run, named commands and files exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import typer

from nnunet_losses.cli import COMMANDS, app

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
RUNNABLE = [ROOT / "README.md"]


def by_name(path: Path) -> str:
    return path.name


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("path", RUNNABLE, ids=by_name)
def test_python_blocks_run(path: Path) -> None:
    found = blocks(path, "python")
    assert found
    for block in found:
        exec(compile(block, path.name, "exec"), {})


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_commands_exist(path: Path) -> None:
    used = re.findall(r"nnunet-losses ([a-z]+)", "\n".join(blocks(path, "sh")))
    assert [command for command in used if command not in COMMANDS] == []


def uses(path: Path) -> list[tuple[str, str]]:
    """Every command of ours that a document shows, in blocks and in the text: its name, and what follows."""
    joined = "\n".join(blocks(path, "sh")).replace("\\\n", " ")
    lines = [line.partition("#")[0] for line in joined.splitlines()]
    spans = re.findall(r"`(nnunet-losses [^`]+)`", path.read_text().replace("\n", " "))
    return [
        (name, rest)
        for text in (*lines, *spans)
        for name, rest in re.findall(r"nnunet-losses ([a-z-]+)((?:(?!nnunet-losses )[^|;&])*)", text)
    ]


def options_of(name: str) -> set[str]:
    """Options of a command, and of the commands in it."""
    group: Any = typer.main.get_command(app)
    command = group.get_command(None, name)
    assert command is not None, f"there is no command {name}"
    every = [command, *getattr(command, "commands", {}).values()]
    return {"--help"} | {
        option
        for one in every
        for parameter in one.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_options_exist(path: Path) -> None:
    wrong = [
        f"{name} {option}"
        for name, rest in uses(path)
        for option in re.findall(r"(?<!\S)(--?[a-z][\w-]*)", rest)
        if option not in options_of(name)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_make_targets_exist(path: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    used = re.findall(r"^make ([a-z]+)", "\n".join(blocks(path, "sh")), flags=re.MULTILINE)
    assert [target for target in used if target not in targets] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
