"""The served command, and what the machine spends on it: see ``service_load.py``."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """The command in a process of its own."""

    def __init__(self, url: str, database: Path, pid: int) -> None:
        self.url, self.database, self.pid = url, database, pid

    def processes(self) -> dict[str, int]:
        """Ids of the server, its worker, and the worker's decoder, if there is one now."""
        found = {"server": self.pid}
        for name, parent, word in (
            ("worker", "server", b"workers.process"),
            ("decoder", "worker", b"decode"),
        ):
            if parent in found and (child := child_of(found[parent], word)) is not None:
                found[name] = child
        return found


@contextlib.contextmanager
def served(options: argparse.Namespace, folder: Path) -> Iterator[Server]:
    command = [sys.executable, "-c", "from nnunet_losses.cli import main; main()", "serve"]
    command += [str(options.bundle), "--port", "0", "--backend", "cpu", "--threads", str(options.threads)]
    variables = {
        "NNUNET_LOSSES_DATA_FOLDER": str(folder / "data"),
        "NNUNET_LOSSES_MAX_QUEUED": str(options.queue),
        "NNUNET_LOSSES_MAX_UPLOADS": str(options.clients),
    }
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | variables
        ) as process,
    ):
        assert process.stdout is not None
        url = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert url is not None, (folder / "log").read_text()
        try:
            _wait_until_ready(url.group())
            yield Server(url.group(), folder / "data" / "jobs.sqlite", process.pid)
        finally:
            process.terminate()


def _wait_until_ready(url: str) -> None:
    """Return when every model answers; a model that failed never will."""
    while (answer := httpx.get(f"{url}/v2/health/ready", timeout=60)).status_code != httpx.codes.OK:
        failures = [model["failure"] for model in answer.json()["models"] if model["state"] == "failed"]
        if failures:
            raise RuntimeError(f"The bundle cannot be served: {failures[0]}")
        time.sleep(0.2)


class Watcher:
    """Looks at queue, memory and processor time while the block that it stands around is done."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ended = threading.Event()
        self.queued: list[int] = []
        self.memory: list[dict[str, int]] = [self._memory()]
        self.processor: Counter[str] = Counter()

    def __enter__(self) -> None:
        self._ended.clear()
        self._used = self._processor()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for name, seconds in self._processor().items():
            self.processor[name] += seconds - self._used.get(name, 0.0)

    def _look(self) -> None:
        query = "SELECT count(*) FROM jobs WHERE state = 'queued'"
        with contextlib.closing(sqlite3.connect(self._server.database, timeout=60)) as database:
            while not self._ended.wait(0.5):
                self.queued.append(database.execute(query).fetchone()[0])
                self.memory.append(self._memory())

    def _memory(self) -> dict[str, int]:
        return {name: resident_mib(pid) for name, pid in self._server.processes().items()}

    def _processor(self) -> dict[str, float]:
        return {name: processor_seconds(pid) for name, pid in self._server.processes().items()}

    def memory_figures(self) -> dict[str, dict[str, int]]:
        """At the start, after a quarter and at the end."""
        return {
            "at_the_start": self.memory[0],
            "after_a_quarter": self.memory[len(self.memory) // 4],
            "at_the_end": self.memory[-1],
        }


def child_of(parent: int, word: bytes) -> int | None:
    """Find a process's child whose command line holds a word."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(stat(path)[1]) == parent and word in (path / "cmdline").read_bytes():
                return int(path.name)
    return None


def stat(process: Path) -> list[str]:
    """Fields behind the command's name, see proc(5)."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def processor_seconds(pid: int) -> float:
    fields = stat(Path(f"/proc/{pid}"))
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
