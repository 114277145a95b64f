"""One process for one cell: it can crash, run out of memory or be killed without taking others with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from nnunet_losses.compare.results import LOG_FILE, read_failure, read_result, write_failure

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.compare.study import Cell


def run_process(output: Path, cell: Cell, *, workers: int = 0, device: str | None = None) -> bool:
    """Run a cell in a process of its own and wait for it; whether it has a result.

    Args:
        output: folder of the comparison.
        cell: one of its cells.
        workers: processes that augment.
        device: value of CUDA_VISIBLE_DEVICES; None leaves it.
    """
    folder = cell.folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "nnunet_losses.compare.worker", str(output), cell.name]
    command += ["--workers", str(workers), "--until-stdin-closes"]
    environment = {**os.environ, **({} if device is None else {"CUDA_VISIBLE_DEVICES": device})}
    before = read_failure(folder)
    with (folder / LOG_FILE).open("a") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
        code = process.wait()
    if read_result(folder) is not None:
        return True
    if read_failure(folder) in (None, before):
        write_failure(folder, _reason(code), _tail(folder / LOG_FILE))
    return False


def _reason(code: int) -> str:
    if code >= 0:
        return f"The process ended with {code} before it could say why; see the log."
    name = signal.Signals(-code).name
    often = " Often that is the operating system, which ran out of memory." if name == "SIGKILL" else ""
    return f"The process was ended by {name}.{often}"


def _tail(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-lines:])
