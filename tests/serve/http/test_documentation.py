"""docs/service.md says what is so: its tables are the code's, and its examples run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.http.problems import PROBLEM_TYPES
from nnunet_losses.serve.http.settings import Settings

from ...conftest import ROOT, require
from .fakes import parse

if TYPE_CHECKING:
    from pathlib import Path

    from .real import Server

TEXT = (ROOT / "docs" / "service.md").read_text()
EXAMPLES = re.findall(r"```(sh|python)\n(.*?)```", TEXT, re.DOTALL)
CURL = [text for language, text in EXAMPLES if language == "sh" and text.startswith("curl")]
PYTHON = [text for language, text in EXAMPLES if language == "python"]


def test_the_table_of_codes_is_the_codes() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (\d{3}) \| (.+) \|$", TEXT, re.MULTILINE)
    assert rows == [(str(code), str(kind.status), kind.title) for code, kind in PROBLEM_TYPES.items()]


def test_the_table_of_settings_is_the_settings() -> None:
    named = set(re.findall(r"`NNUNET_LOSSES_([A-Z_]+)`", TEXT))
    assert named == {name.upper() for name in Settings.model_fields}


def test_there_are_examples() -> None:
    assert (len(CURL), len(PYTHON)) == (2, 1)


@pytest.mark.parametrize("example", CURL)
def test_the_curl_examples_run(server: Server, tmp_path: Path, example: str) -> None:
    require(shutil.which("curl"), "curl is not installed")
    output = _run(["bash", "-e", "-c", _here(example, server)], server, tmp_path)
    expected = parse(server.segment(server.image.read_bytes()))
    if "application/json" in example:
        assert json.loads(output)["labels"] == expected.answer["labels"]
    else:
        assert expected.mask in (tmp_path / "reply.multipart").read_bytes()


@pytest.mark.parametrize("example", PYTHON)
def test_the_python_example_runs(server: Server, tmp_path: Path, example: str) -> None:
    output = _run([sys.executable, "-W", "error", "-c", _here(example, server)], server, tmp_path)
    expected = parse(server.segment(server.image.read_bytes()))
    assert (tmp_path / "mask.nii.gz").read_bytes() == expected.mask
    assert output.startswith(expected.answer["outcome"])


def test_the_python_example_says_what_is_wrong(server: Server, tmp_path: Path) -> None:
    (tmp_path / "image.nii.gz").write_bytes(b"no image")
    command = [sys.executable, "-c", _here(PYTHON[0], server)]
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("input.")


def _here(example: str, server: Server) -> str:
    assert "http://127.0.0.1:8000" in example
    return example.replace("http://127.0.0.1:8000", server.url)


def _run(command: list[str], server: Server, folder: Path) -> str:
    shutil.copy(server.image, folder / "image.nii.gz")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
