from __future__ import annotations

import csv
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from nnunet_losses.cli import app

if TYPE_CHECKING:
    from pathlib import Path

QUICK = ("--dimension", "2", "--size", "24", "--cases", "3", "--test-cases", "1")


def phantom(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["phantom", *map(str, arguments)], env={"COLUMNS": "400"})


def test_a_data_set_and_what_to_type_next(tmp_path: Path) -> None:
    result = phantom(tmp_path / "raw", *QUICK)
    assert result.exit_code == 0, result.output
    folder = tmp_path / "raw" / "Dataset901_Phantom"
    assert len(list((folder / "imagesTr").iterdir())) == 3
    assert f"export nnUNet_raw={tmp_path / 'raw'}" in result.output
    for command in (
        "nnUNetv2_plan_and_preprocess -d 901 -c 2d",
        "nnunet-losses env",
        "-tr nnUNetTrainer",
        "export",
    ):
        assert command in result.output


def test_every_option_reaches_the_data(tmp_path: Path) -> None:
    grid = ["--size", "12,24,24", "--spacing", "4,1,1"]
    images = ["--labels", "regions", "--lesions", "1", "--lesion-free", "0"]
    data_set = ["--dataset-id", "7", "--name", "Mine", "--cases", "4", "--test-cases", "0", "--seed", "3"]
    result = phantom(tmp_path, *grid, *images, *data_set, "--channels", "T1, T2")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "Dataset007_Mine"
    description = json.loads((folder / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "T1", "1": "T2"}
    assert "regions_class_order" in description
    with (folder / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["lesions"] for row in rows] == ["1"] * 4
    assert all(float(row["spacing_mm"].split()[0]) > 3 for row in rows)


def test_existing_data_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    phantom(tmp_path, *QUICK)
    table = tmp_path / "Dataset901_Phantom" / "cases.csv"
    before = table.read_bytes()
    refused = phantom(tmp_path, *QUICK, "--seed", 1)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output
    assert table.read_bytes() == before
    assert phantom(tmp_path, *QUICK, "--seed", 1, "--overwrite").exit_code == 0
    assert table.read_bytes() != before


def test_other_peoples_data_is_never_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset901_Phantom"
    folder.mkdir()
    (folder / "dataset.json").write_text('{"description": "real patients"}')
    result = phantom(tmp_path, *QUICK, "--overwrite")
    assert result.exit_code == 2
    assert "left alone" in result.output
    assert [path.name for path in folder.iterdir()] == ["dataset.json"]


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = phantom(tmp_path / "file" / "raw", *QUICK)
    assert result.exit_code == 2
    assert "cannot be written to" in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--size", "a,b"), "numbers with commas"),
        (("--size", "24,24,24"), "1 or 2 numbers"),
        (("--size", "3"), "at least 8"),
        (("--labels", "organ"), "organ_lesion"),
        (("--channels", "T1,,T2"), "names with commas"),
        (("--name", "My data"), "Dataset901_Phantom"),
        (("--dimension", "4"), "dimension"),
        (("--lesion-free", "2"), "lesion-free"),
    ],
)
def test_senseless_options_are_refused(tmp_path: Path, options: tuple[str, ...], complaint: str) -> None:
    result = phantom(tmp_path / "raw", *QUICK, *options)
    assert result.exit_code == 2
    assert complaint in result.output
    assert not (tmp_path / "raw").exists()


def test_drawing_needs_neither_torch_nor_file_libraries() -> None:
    code = (
        "import sys; from nnunet_losses.phantom import Phantom, make_case; make_case(Phantom(), 1);"
        "print([name for name in ('torch', 'scipy', 'SimpleITK', 'imageio') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True
    )
    assert done.stdout.strip() == "[]"
