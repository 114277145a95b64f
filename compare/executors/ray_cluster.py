"""Cells on a Ray cluster, which schedules and restarts them. All its machines see the output folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.compare.results import write_failure
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
        StudyError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StudyError(f"--executor ray needs Ray: {install_command('ray')}") from error

    ours = not ray.is_initialized()
    if ours:
        _connect(ray, address)
    try:
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES)(_run)
        tasks = {cell: remote.remote(str(output.resolve()), cell, workers) for cell in cells}
        for cell, task in tasks.items():
            try:
                ray.get(task)
            except ray.exceptions.RayTaskError as error:  # our own code, as on a full disk
                write_failure(cell.folder(output), f"{type(error.cause).__name__}: {error.cause}", str(error))
            except ray.exceptions.RayError as error:  # its machine was lost too often: others go on
                write_failure(cell.folder(output), f"Ray lost it: {type(error).__name__}", str(error))
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = f"there is no Ray cluster at {address or 'RAY_ADDRESS'} ({error})"
        raise StudyError(f"{reason}; start one with 'ray start --head', or give its --ray-address") from error


def _run(output: str, cell: Cell, workers: int) -> bool:
    return run_process(Path(output), cell, workers=workers)
