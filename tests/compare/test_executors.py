"""The same cells, wherever they run."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.compare.executors import local
from nnunet_losses.compare.executors.ray_cluster import run_ray
from nnunet_losses.compare.executors.slurm import slurm_script
from nnunet_losses.compare.results import read_failure, read_result
from nnunet_losses.compare.study import Cell, read_study
from tests.conftest import require

if TYPE_CHECKING:
    from pathlib import Path


PATIENCE = 600.0  # seconds in which Ray must have started
RAY_VARIABLES = {
    "RAY_memory_monitor_refresh_ms": "0",  # others' memory ends no cell
    "RAY_health_check_failure_threshold": "1000",  # who answers late is not lost
    "RAY_gcs_server_request_timeout_seconds": "600",
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_worker_register_timeout_seconds": "600",
}


def start_ray(ray: Any) -> None:
    """Start a cluster; Ray gives a node up that takes half a minute, which is little on a busy machine."""
    deadline = time.monotonic() + PATIENCE
    while not ray.is_initialized():
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        except Exception:
            ray.shutdown()
            if time.monotonic() > deadline:
                raise


def test_ray_runs_the_same_cells_on_two_workers(
    prepared: Path, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        import ray
    except ImportError:
        require(condition=False, reason="Ray is not installed")
    output = shutil.copytree(prepared, tmp_path / "out")
    cells = read_study(output).cells
    for name, value in RAY_VARIABLES.items():
        monkeypatch.setenv(name, value)
    start_ray(ray)
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
    assert all(f"\n{cell.name}\n" in text for cell in study.cells)
    assert "--cpus-per-task=3" in text
    assert "--gres" not in text
    cuda = study.model_copy(update={"settings": study.settings.model_copy(update={"device": "cuda"})})
    assert "--gres=gpu:1" in slurm_script(prepared, cuda, workers=2)


def test_a_job_of_the_array_runs_the_cell_of_its_number(prepared: Path, tmp_path: Path) -> None:
    command = tmp_path / "nnunet-losses"
    command.write_text('#!/bin/sh\necho "$@"\n')
    command.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "1"}
    job = subprocess.run(
        ["bash", prepared / "script.sh"], env=environment, capture_output=True, text=True, check=True
    )
    name = read_study(prepared).cells[1].name
    assert job.stdout == f"compare-cell {prepared} {name} --workers 0\n"


def test_a_full_disk_begins_no_further_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def fail(_output: Path, cell: Cell, **_: object) -> bool:
        begun.append(cell.name)
        raise OSError(errno.ENOSPC, "No space left on device")

    class LateCancelling(ThreadPoolExecutor):
        """Leaves all cells the time to begin before the others are cancelled."""

        def submit(self, *work: Any, **named: Any) -> Future[Any]:
            submitted.append(super().submit(*work, **named))
            return submitted[-1]

        def shutdown(self, **options: bool) -> None:  # type: ignore[override]
            wait(submitted)
            super().shutdown(**options)

    submitted: list[Future[Any]] = []
    monkeypatch.setattr(local, "run_process", fail)
    monkeypatch.setattr(local, "ThreadPoolExecutor", LateCancelling)
    cells = [Cell(loss="dice", fold=0, seed=seed) for seed in range(20)]
    with pytest.raises(OSError, match=r"No space left"):
        local.run_local(tmp_path, cells, slots=1)
    assert begun == [cells[0].name]


class RayError(Exception):
    """As Ray's own."""


class RayTaskError(RayError):
    """As Ray's own, of an error in what it ran."""

    cause = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RayError("the node died"), "Ray lost it: RayError"),
        (RayTaskError("a traceback"), "OSError: [Errno 28] No space left on device"),
    ],
)
def test_a_cell_that_fails_on_ray_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def get(name: str) -> None:
        if name.endswith("seed_0"):
            raise error

    ray = SimpleNamespace(
        is_initialized=lambda: True,
        exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError),
        remote=lambda **_: (
            lambda _function: SimpleNamespace(remote=lambda _output, cell, _workers: cell.name)
        ),
        get=get,
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    lost, other = (Cell(loss="dice", fold=0, seed=seed) for seed in range(2))
    run_ray(tmp_path, [lost, other], cpus=1, gpus=0)
    failure = read_failure(lost.folder(tmp_path))
    assert failure is not None
    assert failure.reason == reason
    assert read_failure(other.folder(tmp_path)) is None


def test_the_command_prints_the_script_and_trains_nothing(prepared: Path) -> None:
    assert (prepared / "script.sh").read_text() == slurm_script(prepared, read_study(prepared), workers=0)
    assert not (prepared / "cells").exists()
