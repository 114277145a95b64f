"""Page and command against the real service: a bundle, a worker process, a browser."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from nnunet_losses.cli import app

from ..page.conftest import chromium  # noqa: F401 - a fixture
from ..page.driver import Driver
from .fakes import parse

if TYPE_CHECKING:
    from pathlib import Path

    from .real import Server


def test_the_page(chromium: Any, server: Server) -> None:  # noqa: F811 - the fixture
    with Driver.opened(chromium, server.url) as driver:
        driver.choose(str(server.image))
        driver.send()
        expected = parse(server.segment(server.image.read_bytes())).answer
        headline = driver.headline()
        present = [label["name"] for label in expected["labels"] if label["present"]]
        assert headline.startswith("Found" if present else "Nothing found")
        assert all(name in headline for name in present)
        assert driver.viewer() == "volume"
        assert "never calibrated" in driver.statement()


def test_the_page_says_what_is_wrong(chromium: Any, server: Server, tmp_path: Path) -> None:  # noqa: F811
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(server.image.read_bytes()[:500])
    with Driver.opened(chromium, server.url) as driver:
        driver.choose(str(broken))
        driver.send()
        assert driver.headline() == "Not segmented"
        assert "input." in driver.statement()


def test_send(server: Server, tmp_path: Path) -> None:
    command = ["send", str(server.image), "--server", server.url, "--output", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    expected = parse(server.segment(server.image.read_bytes()))
    assert (tmp_path / "image.nii.gz").read_bytes() == expected.mask
    answer = json.loads((tmp_path / "image.json").read_text())
    assert answer["labels"] == expected.answer["labels"]


def test_send_says_what_is_wrong(server: Server, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(server.image.read_bytes()[:500])
    command = ["send", str(broken), "--server", server.url, "--output", str(tmp_path / "out")]
    assert CliRunner().invoke(app, command).exit_code == 1
    assert json.loads((tmp_path / "out" / "broken.problem.json").read_text())["code"].startswith("input.")
