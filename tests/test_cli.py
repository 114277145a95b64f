"""The command line as a whole: every command has a name, a help text and an example that holds."""

from __future__ import annotations

import re
import shlex
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from nnunet_losses.cli import COMMANDS, app
from nnunet_losses.examples import EXAMPLES

if TYPE_CHECKING:
    from pathlib import Path


def command(name: str) -> Any:
    group: Any = typer.main.get_command(app)
    return group.get_command(None, name)


def test_every_command_has_an_example() -> None:
    assert list(EXAMPLES) == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_bears_its_name_and_shows_its_example(name: str) -> None:
    assert command(name).name == name
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert EXAMPLES[name] in result.stdout


def arguments(name: str) -> list[str]:
    """What an example passes to its command."""
    ours = EXAMPLES[name].removeprefix('eval "$(').removesuffix(')"').partition(" && ")[0]
    words = shlex.split(ours)
    assert words[:2] == ["nnunet-losses", name]
    return words[2:]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_typed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an example passes is understood, once its folders exist; nothing that is required is missing."""
    monkeypatch.chdir(tmp_path)
    rest = arguments(name)
    for folder in (word for word in rest if word.isupper() or word.startswith("nnUNet_")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    found = command(name)
    if name == "keys":
        found, rest = found.commands[rest[0]], rest[1:]
    found.make_context(name, rest)  # raises where the command line is wrong


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"nnunet-losses {version('nnunet-losses')}\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("predict x y -o z --step 7", r"'--step': '?7(\.0)?'? should be less than or equal to 1"),
        ("predict x y -o z --threads many", "'--threads': 'many' should be a valid integer"),
        ("predict x y -o z --backend gpu", "'--backend': 'gpu' is not one of 'auto', 'cpu'"),
        ("serve x --dicomweb pacs", "--dicomweb 'pacs' is not of the form NAME=URL"),
        (
            "send . --server http://127.0.0.1:9 -o z --empty-seg no",
            "--empty-seg 'no' is neither emit nor omit",
        ),
        (
            "send . --server http://127.0.0.1:9 -o z --option ood",
            "--option 'ood' is not of the form NAME=VALUE",
        ),
    ],
)
def test_a_wrong_value_is_told_with_what_was_expected(words: str, told: str) -> None:
    result = CliRunner().invoke(app, words.split(), env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert re.search(told, " ".join(result.stderr.replace("│", " ").split()))
