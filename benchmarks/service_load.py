"""The service under load: many clients at once, beside the bare runtime on the same machine.

    python benchmarks/service_load.py BUNDLE IMAGE [--jobs 200] [--clients 16] [--threads 1] [--json FILE]

Starts ``nnunet-losses serve`` on the loopback interface with a queue shorter than the clients are many, and
sends the same image again and again, in blocks; each client waits for its job and fetches mask and answer.
Between the blocks, and before and after them, the bare runtime answers the same image: ``Predictor``, alone
in a process of its own, with as many threads, files read and written. What else the machine does meets both
alike, and each block is compared with its two neighbours. Meanwhile a process of its own asks for
/v2/health/live twenty times a second, and queue, memory and processor time are looked at.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import itertools
import json
import math
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

FINAL = {"succeeded", "failed", "cancelled"}
TICKS = os.sysconf("SC_CLK_TCK")
PROBES_PER_SECOND = 20


def main() -> None:
    options = parse()
    if options.part:
        {"bare": bare_runs, "probe": probe}[options.part](options)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        part("bare", options) as bare,
        served(options, Path(folder)) as server,
    ):
        report = measure(options, bare, server)
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
    parser.add_argument("--blocks", type=int, default=4, help="into which the jobs are divided")
    parser.add_argument("--bare", type=int, default=25, help="runs of the bare runtime around each block")
    parser.add_argument("--queue", type=int, default=12, help="bound of the queue")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", choices=["bare", "probe"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace, bare: Part, server: Server) -> dict[str, Any]:
    """Take turns: bare runs, a block of jobs, bare runs, ..."""
    send = Clients(server.url, options)
    run_bare, bares, blocks = (lambda: bare.ask({"runs": options.bare})), [], []
    send.jobs(2)  # the first job starts the process that decodes
    watcher = Watcher(server)
    bares.append(run_bare())
    with part("probe", options, url=server.url) as prober:
        for _ in range(options.blocks):
            with watcher:
                prober.ask({"probe": True})
                blocks.append(send.jobs(options.jobs // options.blocks))
                prober.ask({"probe": False})
            bares.append(run_bare())
        probes = prober.ask({"probe": None})["seconds"]
    return {
        "jobs": sum(block["jobs"] for block in blocks),
        "clients": options.clients,
        "threads": options.threads,
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "ends": dict(send.ends),
        "refused_by_the_full_queue": send.refused,
        **throughput(blocks, bares),
        **health(probes),
        "queue_bound": options.queue,
        "most_queued": max(watcher.queued),
        "memory_mib": watcher.memory_figures(),
        "processor_ms_per_job": processor(watcher, bares, options.jobs),
        "overhead_ms": overhead(server.database, bares),
    }


def throughput(blocks: list[dict[str, Any]], bares: list[dict[str, Any]]) -> dict[str, Any]:
    """Jobs of a second, of the service and of the bare runtime just before and after."""
    rates = [block["jobs"] / block["seconds"] for block in blocks]
    bare = [len(run["seconds"]) / sum(run["seconds"]) for run in bares]
    shares = [
        2 * rate / (before + after) for rate, before, after in zip(rates, bare[:-1], bare[1:], strict=True)
    ]
    return {
        "service_jobs_per_second": statistics.mean(rates),
        "bare_jobs_per_second": statistics.mean(bare),
        "throughput_ratio": statistics.median(shares),
        "throughput_ratio_of_each_block": shares,
        "bare_jobs_per_second_of_each_block": bare,
    }


def health(seconds: list[float]) -> dict[str, Any]:
    return {
        "probes": len(seconds),
        "probe_p50_ms": 1000 * statistics.median(seconds),
        "probe_p95_ms": 1000 * statistics.quantiles(seconds, n=20)[-1],
        "probe_worst_ms": 1000 * max(seconds),
    }


def processor(watcher: Watcher, bares: list[dict[str, Any]], jobs: int) -> dict[str, float]:
    """Processor time: what noise on the machine changes least."""
    runs = sum(len(run["seconds"]) for run in bares)
    found = {name: 1000 * seconds / jobs for name, seconds in watcher.processor.items()}
    return found | {"bare": 1000 * sum(run["processor"] for run in bares) / runs}


def overhead(database: Path, bares: list[dict[str, Any]]) -> dict[str, float]:
    """Medians, in milliseconds: where a worker spends what the bare runtime does not."""
    query = "SELECT started, finished, result FROM jobs WHERE state = 'succeeded' ORDER BY started"
    with contextlib.closing(sqlite3.connect(database)) as opened:
        jobs = opened.execute(query).fetchall()
    gaps = [after[0] - before[1] for before, after in itertools.pairwise(jobs)]
    stages = [sum(json.loads(result)["seconds"].values()) for _, _, result in jobs]
    around = [finished - started - spent for (started, finished, _), spent in zip(jobs, stages, strict=True)]
    bare_stages = [seconds for run in bares for seconds in run["stages"]]
    bare_all = [seconds for run in bares for seconds in run["seconds"]]
    return {
        "from_one_job_to_the_next": 1000 * statistics.median(gap for gap in gaps if gap < 1),
        "around_the_stages": 1000 * statistics.median(around),
        "stages": 1000 * statistics.median(stages),
        "stages_of_the_bare_runtime": 1000 * statistics.median(bare_stages),
        "around_the_stages_of_the_bare_runtime": 1000
        * (statistics.median(bare_all) - statistics.median(bare_stages)),
    }


class Part:
    """A process that takes and gives one line of JSON at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@contextlib.contextmanager
def part(name: str, options: argparse.Namespace, *, url: str = "") -> Iterator[Part]:
    command = [sys.executable, __file__, str(options.bundle), str(options.image), "--part", name]
    command += ["--threads", str(options.threads), "--url", url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield Part(process)
        process.communicate()


def bare_runs(options: argparse.Namespace) -> None:
    """Answer as often as is asked for; tell how long each run and its stages took."""
    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.formats import Case
    from nnunet_losses.serve.predictor import Predictor

    predictor = Predictor(Bundle.load(options.bundle), backend="cpu", threads=options.threads)
    case = Case("case", (options.image,))
    with tempfile.TemporaryDirectory() as folder:
        predictor.predict_to_folder(case, Path(folder))  # opens the networks
        for line in sys.stdin:
            found: dict[str, Any] = {"seconds": [], "stages": []}
            used = time.process_time()
            for _ in range(json.loads(line)["runs"]):
                began = time.perf_counter()
                written = predictor.predict_to_folder(case, Path(folder))
                found["seconds"].append(time.perf_counter() - began)
                found["stages"].append(sum(written.answer.manifest.timings.values()))
            print(json.dumps(found | {"processor": time.process_time() - used}), flush=True)


def asked(place: str) -> float:
    """Seconds of one probe, connecting included, as orchestrators ask; infinite without the right answer."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection(place, timeout=30)
    try:
        connection.request("GET", "/v2/health/live")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        return math.inf
    finally:
        connection.close()
    return time.perf_counter() - began if answer.status == http.client.OK else math.inf


def probe(options: argparse.Namespace) -> None:
    """Ask for the server's health while told so; in the end, tell how long each answer took."""
    wanted, seconds = threading.Event(), []

    def ask() -> None:
        while True:
            wanted.wait()
            seconds.append(asked(options.url.removeprefix("http://")))
            time.sleep(1 / PROBES_PER_SECOND)

    threading.Thread(target=ask, daemon=True).start()
    for line in sys.stdin:
        wish = json.loads(line)["probe"]
        (wanted.set if wish else wanted.clear)()
        print(json.dumps({"seconds": seconds} if wish is None else {}), flush=True)


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
    while (answer := httpx.get(f"{url}/v2/health/ready")).status_code != httpx.codes.OK:
        failures = [model["failure"] for model in answer.json()["models"] if model["state"] == "failed"]
        if failures:
            raise RuntimeError(f"The bundle cannot be served: {failures[0]}")
        time.sleep(0.2)


class Clients:
    """Patient clients: each sends a job, waits for its end, fetches its files, sends the next one."""

    def __init__(self, url: str, options: argparse.Namespace) -> None:
        self._sessions = [httpx.Client(base_url=url, timeout=120) for _ in range(options.clients)]
        self._image = (options.image.name, options.image.read_bytes())
        self._pool = ThreadPoolExecutor(options.clients)
        (model,) = self._sessions[0].get("/v1/models").json()["models"]
        (self._part,) = model["parts"]
        self.ends: Counter[str] = Counter()
        self.refused = 0

    def jobs(self, number: int) -> dict[str, Any]:
        """Send so many jobs in all, from all clients at once."""
        left, lock = iter(range(number)), threading.Lock()

        def client(session: httpx.Client) -> None:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                state = self._one(session)
                with lock:
                    self.ends[state] += 1

        began = time.perf_counter()
        list(self._pool.map(client, self._sessions))
        return {"jobs": number, "seconds": time.perf_counter() - began}

    def _one(self, session: httpx.Client) -> str:
        while True:
            reply = session.post("/v1/jobs", files={self._part: self._image}, headers={"Prefer": "wait=60"})
            if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            self.refused += 1
            time.sleep(min(1.0, int(reply.headers["Retry-After"])))
        reply.raise_for_status()
        status: dict[str, Any] = reply.json()
        while status["state"] not in FINAL:
            time.sleep(0.2)
            status = session.get(status["links"]["self"]).json()
        for artifact in status["artifacts"]:
            content = session.get(artifact["url"]).content
            if hashlib.sha256(content).hexdigest() != artifact["sha256"]:
                raise RuntimeError(f"{artifact['name']} came damaged")
        state: str = status["state"]
        return state


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


if __name__ == "__main__":
    main()
