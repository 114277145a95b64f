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
import itertools
import json
import os
import sqlite3
import statistics
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from service_load_parts import Part, part
from service_load_server import Server, Watcher, served

FINAL = {"succeeded", "failed", "cancelled"}


def main() -> None:
    options = parse()
    with (
        tempfile.TemporaryDirectory() as folder,
        part("bare", options.bundle, options.image, options.threads) as bare,
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
    return parser.parse_args()


def measure(options: argparse.Namespace, bare: Part, server: Server) -> dict[str, Any]:
    """Take turns: bare runs, a block of jobs, bare runs, ..."""
    send = Clients(server.url, options)
    run_bare, bares, blocks = (lambda: bare.ask({"runs": options.bare})), [], []
    send.jobs(2)  # the first job starts the process that decodes
    watcher = Watcher(server)
    bares.append(run_bare())
    with part("probe", server.url) as prober:
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


if __name__ == "__main__":
    main()
