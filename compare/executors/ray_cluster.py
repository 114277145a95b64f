"""Cells on a Ray cluster, which schedules and restarts them. All its machines see the output folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_losses.compare.study import StudyError
from nnunet_losses.extras import install_command

from .process import run_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.compare.study import Cell

_RETRIES = 3  # of a cell whose machine was lost; it goes on from its last epoch


def run_ray(
    output: Path, cells: Sequence[Cell], *, cpus: int, gpus: int, workers: int = 0, address: str | None = None
) -> None:
    """Run cells as Ray tasks, each in a process of its own.

    Args:
        output: folder of the comparison, under the same path on every machine.
        cells: to run.
        cpus: that a cell takes.
        gpus: that a cell takes.
        workers: processes that augment, for each cell.
        address: of the cluster, as ``ray.init`` takes it; None: that of RAY_ADDRESS, else a local one.

    Raises:
        StudyError: Ray is not installed.
    """
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StudyError(f"--executor ray needs Ray: {install_command('ray')}") from error

    ours = not ray.is_initialized()
    if ours:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES)(_run)
        ray.get([remote.remote(str(output.resolve()), cell, workers) for cell in cells])
    finally:
        if ours:
            ray.shutdown()


def _run(output: str, cell: Cell, workers: int) -> bool:
    return run_process(Path(output), cell, workers=workers)
