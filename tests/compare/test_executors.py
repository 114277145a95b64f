"""The same cells, wherever they run."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from nnunet_losses.compare.executors.ray_cluster import run_ray
from nnunet_losses.compare.executors.slurm import slurm_script
from nnunet_losses.compare.results import read_result
from nnunet_losses.compare.study import read_study
from tests.conftest import require

if TYPE_CHECKING:
    from pathlib import Path


def test_ray_runs_the_same_cells_on_two_workers(prepared: Path, done: Path, tmp_path: Path) -> None:
    try:
        import ray
    except ImportError:
        require(condition=False, reason="Ray is not installed")
    output = shutil.copytree(prepared, tmp_path / "out")
    cells = read_study(output).cells
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        run_ray(output, cells, cpus=1, gpus=0)
        assert ray.is_initialized(), "a cluster that was there is left as it was"
    finally:
        ray.shutdown()
    for cell in cells:
        here, there = read_result(cell.folder(output)), read_result(cell.folder(done))
        assert here is not None
        assert there is not None
        assert (here.curves, here.sets) == (there.curves, there.sets)


def test_slurm_script_is_valid_and_names_every_cell(prepared: Path, tmp_path: Path) -> None:
    study = read_study(prepared)
    script = tmp_path / "job.sh"
    script.write_text(slurm_script(prepared, study, workers=2))
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    text = script.read_text()
    assert f"#SBATCH --array=0-{len(study.cells) - 1}\n" in text
    assert "--cpus-per-task=3" in text
    assert "--gres" not in text
    cuda = study.model_copy(update={"settings": study.settings.model_copy(update={"device": "cuda"})})
    assert "--gres=gpu:1" in slurm_script(prepared, cuda, workers=2)


def test_the_command_prints_the_script_and_trains_nothing(prepared: Path) -> None:
    assert (prepared / "script.sh").read_text() == slurm_script(prepared, read_study(prepared), workers=0)
    assert not (prepared / "cells").exists()
