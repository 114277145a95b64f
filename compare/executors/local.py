"""Cells on this machine: as many at once as there are slots."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import TYPE_CHECKING

from .process import run_process

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnunet_losses.compare.study import Cell


def run_local(
    output: Path, cells: Sequence[Cell], *, slots: int, workers: int = 0, devices: Sequence[str] = ()
) -> None:
    """Run cells in processes of this machine; the failed ones have said why in their folders.

    What stops one from being run at all, as a full disk does, is raised, and no other begins.

    Args:
        output: folder of the comparison.
        cells: to run, in this order.
        slots: how many at once.
        workers: processes that augment, for each cell.
        devices: CUDA devices that the slots take in turn; none leaves the choice to the processes.
    """
    free: SimpleQueue[str | None] = SimpleQueue()
    for slot in range(slots):
        free.put(devices[slot % len(devices)] if devices else None)

    stopped = Event()

    def run(cell: Cell) -> None:
        device = free.get()
        try:
            if not stopped.is_set():
                run_process(output, cell, workers=workers, device=device)
        except BaseException:
            stopped.set()  # here: the next cell would begin before the other thread learns of it
            raise
        finally:
            free.put(device)

    pool = ThreadPoolExecutor(slots)
    try:
        for future in [pool.submit(run, cell) for cell in cells]:
            future.result()
    finally:  # interrupted, or the disk is full: begin no other
        pool.shutdown(wait=False, cancel_futures=True)
