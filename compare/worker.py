"""The process of one cell: ``python -m nnunet_losses.compare.worker OUTPUT CELL``.

With ``--until-stdin-closes`` it ends with the process that started it: no training goes on unseen when the
comparison is killed, and none is in the way when it is started again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import traceback
from pathlib import Path

from .lifetime import end_with_parent
from .results import write_failure
from .study import Cell, read_study

_LITTLE_SPACE = 512  # MiB


def main() -> None:
    """Run a cell; exit with 1 where it fails, its reason in its folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("cell")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--until-stdin-closes", action="store_true")
    given = parser.parse_args()
    if given.until_stdin_closes:
        end_with_parent()
    cell = find_cell(given.output, given.cell)
    sys.exit(run(given.output, cell, workers=given.workers))


def find_cell(output: Path, name: str) -> Cell:
    """Find a cell of a comparison by name, or by its number.

    Raises:
        StudyError: the folder holds no comparison.
        ValueError: it has no such cell.
    """
    every = read_study(output).cells
    cells = {cell.name: cell for cell in every}
    if name.isdecimal() and int(name) < len(every):
        return every[int(name)]
    if name not in cells:
        raise ValueError(f"{output} has no cell {name!r}; it has 0 to {len(every) - 1}: {', '.join(cells)}")
    return cells[name]


def run(output: Path, cell: Cell, *, workers: int = 0) -> int:
    """Run a cell in this process; 0 if it has a result now, 1 if it failed."""
    try:
        _set_environment(output, cell)
        from .cell import run_cell  # noqa: PLC0415 - nnU-Net reads its folders from the environment set above

        run_cell(output, cell, workers=workers)
    except Exception as error:  # noqa: BLE001 - whatever it is becomes the reason, and other cells go on
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}{_full_disk(output)}"
        write_failure(cell.folder(output), reason, traceback.format_exc())
        return 1
    return 0


def _full_disk(output: Path) -> str:
    """What PyTorch does not say where it cannot write a checkpoint."""
    free = shutil.disk_usage(output).free / 2**20
    return f" (the disk of {output} has {free:.0f} MiB left)" if free < _LITTLE_SPACE else ""


def _set_environment(output: Path, cell: Cell) -> None:
    from .preparation import read_prepared  # noqa: PLC0415 - as light as it can be

    results = cell.folder(output) / "nnunet"
    threads = read_study(output).settings.threads
    os.environ.update(read_prepared(output).folders.environment(results, threads=threads))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic sums on a GPU


if __name__ == "__main__":
    main()
