"""A tiny phantom data set, preprocessed once, and the command on it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.compare.outcomes import Comparison, collect
from nnunet_losses.compare.results import write_failure, write_result
from nnunet_losses.compare.study import Study
from nnunet_losses.phantom_files import write_dataset
from nnunet_losses.phantom_settings import Phantom

from .made_up import SETTINGS, result

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Dataset901_Phantom"
LENGTH = ("--epochs", "3", "--iterations-per-epoch", "1", "--validation-iterations", "1")
NETWORK = ("--features", "2", "2", "4", "--patch", "32", "32", "--batch", "2", "--device", "cpu")
# the weights of dice_hausdorff follow from what earlier epochs measured: weights alone do not resume it
LOSSES = ("dice_ce", "dice_hausdorff")
COMMAND = (sys.executable, "-c", "from nnunet_losses.cli import main; main()", "compare")


@pytest.fixture(scope="session")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with nnU-Net's raw and preprocessed data of a phantom, some of whose images have no lesion."""
    folder = tmp_path_factory.mktemp("nnunet")
    settings = Phantom(size=(32, 32), spacing=(1.0, 1.0), labelling="lesion", lesions=(1, 2))
    (folder / "raw").mkdir()
    write_dataset(
        folder / "raw", cases=5, test_cases=2, lesion_free=0.4, seed=0, name=NAME, settings=settings
    )
    (folder / "preprocessed").mkdir()
    return folder


@pytest.fixture(scope="session")
def prepared(nnunet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder of which everything but the cells is done."""
    output = tmp_path_factory.mktemp("prepared") / "out"
    script = run(nnunet, output, "--executor", "slurm")
    assert script.returncode == 0, script.stderr
    (output / "script.sh").write_text(script.stdout)
    return output


@pytest.fixture(scope="session")
def done(nnunet: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder whose cells ran without interruption."""
    output = shutil.copytree(prepared, tmp_path_factory.mktemp("done") / "out")
    ended = run(nnunet, output, "--slots", "2")
    assert ended.returncode == 0, ended.stderr
    return output


@pytest.fixture
def output(prepared: Path, tmp_path: Path) -> Path:
    """A copy of ``prepared``."""
    return shutil.copytree(prepared, tmp_path / "out")


def environment(nnunet: Path) -> dict[str, str]:
    folders = {f"nnUNet_{kind}": str(nnunet / kind) for kind in ("raw", "preprocessed")}
    return {**folders, "OMP_NUM_THREADS": "1", "nnUNet_def_n_proc": "1"}


def command(output: Path, *further: str) -> list[str]:
    return [*COMMAND, NAME, "--losses", *LOSSES, *LENGTH, *NETWORK, *further, "--output", str(output)]


def run(nnunet: Path, output: Path, *further: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        command(output, *further),
        env={**os.environ, **environment(nnunet)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study(settings=SETTINGS, losses=("dice", "ce", "dice_ce"), folds=(0,), seeds=(0, 1))
    for loss, shift, painted in (("dice", 0, 4), ("ce", 1, 1)):
        for cell in study.cells:
            if cell.loss == loss:
                cell.folder(tmp_path).mkdir(parents=True)
                write_result(
                    cell.folder(tmp_path), result(study, loss, cell.seed, shift=shift, painted=painted)
                )
    for cell in study.cells:
        if cell.loss == "dice_ce":
            write_failure(cell.folder(tmp_path), "RuntimeError: <no memory>")
    return study


@pytest.fixture
def comparison(study: Study, tmp_path: Path) -> Comparison:
    return collect(tmp_path, study)
