"""The service under load: many clients at once, beside the bare runtime on the same machine.

    python benchmarks/service_load.py BUNDLE IMAGE [--jobs 200] [--clients 16] [--threads 1] [--json FILE]

Starts ``nnunet-losses serve`` on the loopback interface with a queue of 32, sends the same image again and
again, and asks for /v2/health/live fifty times a second meanwhile. The bare runtime (``Predictor`` in this
process) answers the same image before and after; the mean of all its runs is compared. Memory is that of the
server and of its worker, after the first quarter of the jobs and at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_QUEUED = 32
FINAL = {"succeeded", "failed", "cancelled"}


def main() -> None:
    options = parse()
    bare = bare_seconds(options)
    with tempfile.TemporaryDirectory() as folder, served(options, Path(folder)) as (url, pid):
        watcher = Watcher(url, Path(folder), pid)
        began = time.perf_counter()
        with watcher, ThreadPoolExecutor(options.clients) as pool:
            ends = Counter(pool.map(lambda _: one_job(url, options), range(options.jobs)))
        seconds = time.perf_counter() - began
    bare += bare_seconds(options)
    report = {
        "jobs": options.jobs,
        "clients": options.clients,
        "load_average": os.getloadavg()[0],
        "ends": dict(ends),
        "service_jobs_per_second": options.jobs / seconds,
        "bare_jobs_per_second": 1 / statistics.mean(bare),
        "throughput_ratio": options.jobs / seconds * statistics.mean(bare),
        **watcher.figures(),
    }
    print(json.dumps(report, indent=2))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bare", type=int, default=20, help="runs of the bare runtime, before and after")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def bare_seconds(options: argparse.Namespace) -> list[float]:
    """Seconds of each run in this process, files written; the first one, which opens networks, is dropped."""
    predictor = Predictor(Bundle.load(options.bundle), backend="cpu", threads=options.threads)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.bare + 1):
            began = time.perf_counter()
            predictor.predict_to_folder(Case("case", (options.image,)), Path(folder))
            found.append(time.perf_counter() - began)
    return found[1:]


@contextmanager
def served(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, int]]:
    """Run the command in a process of its own, with its log in the folder."""
    command = [sys.executable, "-c", "from nnunet_losses.cli import main; main()", "serve"]
    command += [str(options.bundle), "--port", "0", "--backend", "cpu", "--threads", str(options.threads)]
    variables = {
        "NNUNET_LOSSES_DATA_FOLDER": str(folder / "data"),
        "NNUNET_LOSSES_MAX_QUEUED": str(MAX_QUEUED),
    }
    variables |= {"NNUNET_LOSSES_MAX_UPLOADS": str(options.clients)}
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | variables
        ) as process,
    ):
        assert process.stdout is not None
        url = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert url is not None, (folder / "log").read_text()
        while httpx.get(f"{url.group()}/v2/health/ready").status_code != 200:
            time.sleep(0.2)
        try:
            yield url.group(), process.pid
        finally:
            process.terminate()


def one_job(url: str, options: argparse.Namespace) -> str:
    """Send a job and wait for its end, as a patient client does."""
    with httpx.Client(base_url=url, timeout=120) as client:
        while True:
            files = {"0000": (options.image.name, options.image.read_bytes())}
            reply = client.post("/v1/jobs", files=files, headers={"Prefer": "wait=60"})
            if reply.status_code != 503:
                break
            time.sleep(min(1.0, int(reply.headers["Retry-After"])))
        reply.raise_for_status()
        status: dict[str, Any] = reply.json()
        while status["state"] not in FINAL:
            time.sleep(0.2)
            status = client.get(status["links"]["self"]).json()
        state: str = status["state"]
        return state


class Watcher:
    """Asks for the server's health, and looks at its queue and its memory, in threads."""

    def __init__(self, url: str, folder: Path, pid: int) -> None:
        self._url, self._database, self._pid = url, folder / "data" / "jobs.sqlite", pid
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._probe), threading.Thread(target=self._look)]
        self.probes: list[float] = []
        self.queued: list[int] = []
        self.memory: list[tuple[int, ...]] = []

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _probe(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._ended.wait(0.02):
                began = time.perf_counter()
                client.get("/v2/health/live").raise_for_status()
                self.probes.append(time.perf_counter() - began)

    def _look(self) -> None:
        pids = [self._pid, *worker_pids(self._pid)]
        with closing(sqlite3.connect(self._database)) as database:
            while not self._ended.wait(0.25):
                query = "SELECT count(*) FROM jobs WHERE state = 'queued'"
                self.queued.append(database.execute(query).fetchone()[0])
                self.memory.append(tuple(resident_mib(pid) for pid in pids))

    def figures(self) -> dict[str, Any]:
        quarter = self.memory[len(self.memory) // 4]
        return {
            "probes": len(self.probes),
            "probe_p50_ms": 1000 * statistics.median(self.probes),
            "probe_p95_ms": 1000 * statistics.quantiles(self.probes, n=20)[-1],
            "probe_worst_ms": 1000 * max(self.probes),
            "most_queued": max(self.queued),
            "queue_bound": MAX_QUEUED,
            "memory_mib_after_a_quarter": dict(zip(("server", "worker"), quarter, strict=False)),
            "memory_mib_at_the_end": dict(zip(("server", "worker"), self.memory[-1], strict=False)),
        }


def worker_pids(server: int) -> list[int]:
    """Child processes that are workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == server and b"workers.process" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def resident_mib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


if __name__ == "__main__":
    main()
