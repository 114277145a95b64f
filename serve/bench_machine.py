"""The machine on which a benchmark runs."""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .backends.threads import allowed_cores
from .versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterator


def describe_machine(cores: int) -> dict[str, Any]:
    """Describe the machine: without this, seconds mean nothing."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores_used": cores,
        "cores_allowed": allowed_cores(),
        "cores_of_machine": os.cpu_count(),
        "memory_bytes": _memory(),
        "versions": versions(),
    }


def _processor() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _lines(name: str) -> list[str]:
    file = Path(name)
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []


@contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Give this process, and so its children, the first so many of its cores: nnU-Net takes what it finds."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
