"""Exit codes of every command: 2 where what was named cannot be used, 1 where something broke."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import COMMANDS, app

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

# Arguments of each command. IT is wrong: a path that is not there, a file or a folder of another kind.
# BUNDLE, MODEL, IMAGES and FOLDER (empty) are right.
BUNDLES = {
    "variant": "IT bf16 --calibration-images IMAGES",
    "triton": "IT NEW",
    "verify": "IT MODEL IMAGES",
    "calibrate": "IT --raw FOLDER --splits default",
    "recalibrate": "IT --images IMAGES",
    "predict": "IT IMAGES -o NEW",
    "inspect": "IT",
    "stress": "IT IMAGES --report NEW",
    "bench": "IT IMAGES --repeat 1",
    "serve": "IT --port 0",
}
OTHERS = [
    ("describe", "IT"),
    ("env", "--shell IT"),
    ("enable", "IT"),
    ("disable", "IT"),
    ("doctor", "IT"),
    ("list", "one two IT"),
    ("export", "IT NEW"),
    ("export", "MODEL NEW --postprocessing IT"),
    ("variant", "BUNDLE bf16 --calibration-images IT"),
    ("verify", "BUNDLE IT IMAGES"),
    ("verify", "BUNDLE MODEL IT"),
    ("calibrate", "BUNDLE --raw IT --splits default"),
    ("calibrate", "BUNDLE --raw FOLDER --splits IT"),
    ("calibrate", "BUNDLE --raw FOLDER --held-out FOLDER --groups IT"),
    ("recalibrate", "BUNDLE --images IT"),
    ("stress", "BUNDLE IT --report NEW"),
    ("bench", "BUNDLE IT --repeat 1"),
    ("bench", "BUNDLE IMAGES --against IT --repeat 1"),
    ("evaluate", "IT IMAGES"),
    ("evaluate", "IMAGES IMAGES --dataset IT"),
    ("evaluate", "IMAGES IMAGES --label a=1 --scores IT"),
    ("compare", "IT --losses ce --output NEW"),
    ("compare", "FOLDER --losses IT --output NEW"),
    ("compare-cell", "IT 0"),
    ("compare-report", "IT"),
    ("send", "IT --server http://127.0.0.1:9 -o NEW --patience 0"),
    ("serve", "BUNDLE --port 0 --keys-file IT"),
    ("serve", "BUNDLE --port 0 --dicomweb-credentials IT"),
    ("keys", "list --file IT"),
    ("keys", "create radiology --file IT --days 0"),
    ("phantom", "IT --size IT"),
]
# in an empty folder all cases are missing, which is 1; and whether a file is an image the server says
RIGHT = {
    ("evaluate", "IT IMAGES", "folder"),
    ("send", "IT --server http://127.0.0.1:9 -o NEW --patience 0", "text"),
    ("send", "IT --server http://127.0.0.1:9 -o NEW --patience 0", "folder"),
}
WRONG = [
    (command, words, kind)
    for command, words in (*BUNDLES.items(), *OTHERS)
    for kind in ("absent", "text", "folder")
    if (command, words, kind) not in RIGHT
]


@pytest.fixture(scope="module")
def places(
    picture_model: Path, picture_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    import imageio.v3 as iio
    import numpy as np

    folder = tmp_path_factory.mktemp("places")
    for name in ("images", "folder"):
        (folder / name).mkdir()
    (folder / "text").write_text("neither a bundle nor an image\n")
    iio.imwrite(
        folder / "images" / "a_0000.png", np.random.default_rng(0).integers(0, 99, (20, 20), np.uint8)
    )
    return {
        "BUNDLE": str(picture_bundle),
        "MODEL": str(picture_model),
        "IMAGES": str(folder / "images"),
        "FOLDER": str(folder / "folder"),
        "absent": str(folder / "absent"),
        "text": str(folder / "text"),
        "folder": str(folder / "folder"),
    }


@pytest.fixture(autouse=True)
def compare_ends_as_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)


def run(command: str, words: str, places: dict[str, str], new: Path) -> Result:
    typed = [{**places, "NEW": str(new)}.get(word, word) for word in words.split()]
    return CliRunner().invoke(app, [command, *typed], env={"COLUMNS": "200"})


def test_every_command_is_tried() -> None:
    assert {*BUNDLES, *(command for command, _ in OTHERS)} == set(COMMANDS)


@pytest.mark.parametrize(("command", "words", "kind"), WRONG)
def test_what_cannot_be_used_is_2(
    command: str, words: str, kind: str, places: dict[str, str], tmp_path: Path
) -> None:
    done = run(command, words, {**places, "IT": places[kind]}, tmp_path / "new")
    assert done.exit_code == 2, (done.output, done.exception)
    assert done.stderr
    assert "Traceback" not in done.output


# what looks at the data set first, and what verifies in the background
LATER = {"calibrate", "serve"}


@pytest.mark.parametrize("command", sorted(BUNDLES.keys() - LATER))
def test_a_damaged_bundle_is_1(command: str, places: dict[str, str], tmp_path: Path) -> None:
    damaged = shutil.copytree(places["BUNDLE"], tmp_path / "damaged")
    (damaged / "MODEL_CARD.md").write_text("better than it is")
    done = run(command, BUNDLES[command], {**places, "IT": str(damaged)}, tmp_path / "new")
    assert done.exit_code == 1, (done.output, done.exception)
    assert "MODEL_CARD.md is not the file" in " ".join(done.output.split())


def test_the_process_says_it_too(places: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from nnunet_losses.cli import main; main()", "inspect", places["absent"]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert "bundle.unreadable" in done.stderr


def test_the_table_names_every_command() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "docs" / "exit_codes.md").read_text(), flags=re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([a-z-]+)`", row)]
    assert sorted(named) == sorted(COMMANDS)
