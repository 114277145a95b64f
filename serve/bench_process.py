"""One command in a process of its own: how long it took, and how much memory its processes had together."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter, sleep
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLING_SECONDS = 0.05
_PROC = Path("/proc")
_SAID_BYTES = 4000  # of what the command said, kept from the end


@dataclass(frozen=True)
class Measured:
    """A finished command.

    Attributes:
        seconds: from start to end of the process, by the wall clock.
        peak_bytes: largest sum over the process and its children, pages that they share counted once
            (proportional set size), sampled; None where the system does not tell (it is Linux that does).
        code: exit status.
        said: the end of its output, for people.
        output: its standard output.
        load: mean number of running processes on the machine over the last minute, when it began.
    """

    seconds: float
    peak_bytes: int | None
    code: int
    said: str
    output: str
    load: float | None


def measure(command: Sequence[str]) -> Measured:
    """Run a command to its end; whatever ends the waiting ends the command, too."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with TemporaryFile() as out, TemporaryFile() as err:
        start = perf_counter()
        process = subprocess.Popen(list(command), stdout=out, stderr=err)  # noqa: S603 - our own command line
        try:
            peak = _watch(process)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = perf_counter() - start
        out.seek(0)
        err.seek(0)
        output, errors = (stream.read().decode(errors="replace") for stream in (out, err))
    return Measured(seconds, peak or None, process.returncode, (output + errors)[-_SAID_BYTES:], output, load)


def _watch(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end; returns the most memory that was seen."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_proportional_bytes(pid) for pid in _family(process.pid)))
        sleep(SAMPLING_SECONDS)
    return peak


def _family(pid: int) -> list[int]:
    """A process, its children, theirs, and so on."""
    found = [pid]
    for member in found:
        for task in _PROC.glob(f"{member}/task/*/children"):
            found += [int(child) for child in _text(task).split()]
    return found


def _proportional_bytes(pid: int) -> int:
    for line in _text(_PROC / str(pid) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:  # the process has ended meanwhile
        return ""
