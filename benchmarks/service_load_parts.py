"""What runs beside the service under load, each in a process of its own: see ``service_load.py``.

    python benchmarks/service_load_parts.py bare BUNDLE IMAGE THREADS
    python benchmarks/service_load_parts.py probe URL

Takes and gives one line of JSON at a time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBES_PER_SECOND = 20


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
def part(name: str, *arguments: object) -> Iterator[Part]:
    """Start one of ``PARTS``; it ends with the context."""
    command = [sys.executable, __file__, name, *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield Part(process)
        process.communicate()


def bare_runs(bundle: str, image: str, threads: str) -> None:
    """Answer as often as is asked for; tell how long each run and its stages took."""
    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.formats import Case
    from nnunet_losses.serve.predictor import Predictor

    predictor = Predictor(Bundle.load(Path(bundle)), backend="cpu", threads=int(threads))
    case = Case("case", (Path(image),))
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


def probe(url: str) -> None:
    """Ask for the server's health while told so; in the end, tell how long each answer took."""
    wanted, seconds = threading.Event(), []

    def ask() -> None:
        while True:
            wanted.wait()
            seconds.append(asked(url.removeprefix("http://")))
            time.sleep(1 / PROBES_PER_SECOND)

    threading.Thread(target=ask, daemon=True).start()
    for line in sys.stdin:
        wish = json.loads(line)["probe"]
        (wanted.set if wish else wanted.clear)()
        print(json.dumps({"seconds": seconds} if wish is None else {}), flush=True)


PARTS = {"bare": bare_runs, "probe": probe}

if __name__ == "__main__":
    PARTS[sys.argv[1]](*sys.argv[2:])
