"""docs/client.md and docs/page.md say what is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from nnunet_losses.serve import client
from nnunet_losses.serve.client.errors import ServiceError

from ...conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from .real import Server

CLI = "from nnunet_losses.cli import main; main()"
TEXT = (ROOT / "docs" / "client.md").read_text()


def test_the_examples_run(server: Server, tmp_path: Path) -> None:
    shutil.copy(server.image, tmp_path / "image.nii.gz")
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (shell,) = re.findall(r"^(nnunet-losses send .*)$", TEXT, re.MULTILINE)
    words = shell.replace("http://127.0.0.1:8000", server.url).split()[1:]
    for command in ([code.replace("http://127.0.0.1:8000", server.url)], [CLI, *words]):
        run = [sys.executable, "-c", *command]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "mask.nii.gz").read_bytes() == (tmp_path / "results" / "image.nii.gz").read_bytes()


def test_the_table_of_exceptions_is_the_exceptions() -> None:
    named = set(re.findall(r"^\| `([A-Z]\w+)` \|", TEXT, re.MULTILINE))
    known = {name for name in client.__all__ if issubclass(getattr(client, name), ServiceError)}
    assert named == known - {"ServiceError"}


def test_the_page_names_its_viewer() -> None:
    text = (ROOT / "docs" / "page.md").read_text()
    licence = (ROOT / "serve/http/page/vendor/niivue.LICENSE.txt").read_text()
    (version,) = re.findall(r"@niivue/niivue` ([\d.]+)", text)
    assert f"@niivue/niivue {version}" in licence
