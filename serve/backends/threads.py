"""How many cores this process may use."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def allowed_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that the process may run on: its affinity, further limited by a container's quota.

    Engines count the host's cores by themselves, and grow slow with more threads than cores.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Cores granted by a control group of version 2 or 1; None where there is no limit."""
    version_2 = _words(cgroup / "cpu.max")
    if len(version_2) == 2:
        return None if version_2[0] == "max" else int(version_2[0]) / int(version_2[1])
    granted, period = (_words(cgroup / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    if not granted or not period or int(granted[0]) <= 0:
        return None
    return int(granted[0]) / int(period[0])


def _words(file: Path) -> list[str]:
    return file.read_text().split() if file.is_file() else []
