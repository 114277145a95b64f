"""What the documents show works: Python blocks run, named commands and files exist."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.cli import COMMANDS

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


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_make_targets_exist(path: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    used = re.findall(r"^make ([a-z]+)", "\n".join(blocks(path, "sh")), flags=re.MULTILINE)
    assert [target for target in used if target not in targets] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=by_name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []
