"""Time and memory of every loss, forward and backward, in units of nnU-Net's own ``DC_and_CE_loss``.

    python benchmarks/losses.py [--quick] [--only PATTERN] [--rounds N] [--json FILE] [--table FILE]

Each loss runs in turn with the unit, so that a slow moment of the machine hits both; the figure is the ratio
of their medians. Losses of other libraries are measured in the same way where they are installed. Geometry
is given, as a data-loader worker gives it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait hurt other programs

import torch
from loss_batch import batch
from loss_peers import UNIT, available, nnunet_ce
from loss_report import limit_of, page, show
from torch.profiler import ProfilerActivity, profile

from nnunet_losses import create_loss, get_loss_spec, list_losses

if TYPE_CHECKING:
    from torch import Tensor

SHAPES = {False: [(2, 3, 64, 96, 96), (2, 3, 96, 128, 128)], True: [(2, 3, 32, 48, 48)]}
COMPONENTS, MANY = 20, 200
PER_COMPONENT = ("blob_dice", "blob_dice_ce", "cc_dice_ce", "cat_mil")
EPOCH = (60, 100)  # in the midst of every schedule
TOO_SLOW = 5000  # milliseconds; not measured again on a larger batch
FEWER_ROUNDS = {10.0: 1, 2.0: 3}  # for what takes longer than so many seconds
LIBRARIES = ("torch", "nnunetv2", "monai", "kornia", "segmentation-models-pytorch", "edt", "numpy")

Step = Callable[[], "Tensor"]
Result = dict[str, Any]


def ours(key: str, logits: Tensor, target: Tensor) -> Step:
    """Return the forward pass of one of our losses, with the geometry that it takes."""
    loss = create_loss(key)
    loss.set_epoch(*EPOCH)
    if not get_loss_spec(key).geometry:
        return lambda: loss(logits, target)
    recipe = loss.geometry_recipe(logits.shape[1])
    geometry = recipe.collate([recipe(sample) for sample in target])
    return lambda: loss(logits, target, geometry=geometry)


def run_once(step: Step, logits: Tensor) -> tuple[float, float]:
    """Return the wall and the processor seconds of one forward and backward pass."""
    logits.grad = None
    start, busy = time.perf_counter(), time.process_time()
    step().backward()
    return time.perf_counter() - start, time.process_time() - busy


def measure(step: Step, unit: Step, logits: Tensor, rounds: int) -> dict[str, float]:
    """Return medians of a loss, and their ratios to those of the unit between its runs."""
    first = run_once(step, logits)[0]  # it warms up, too
    rounds = next((few for seconds, few in FEWER_ROUNDS.items() if first > seconds), rounds)
    pairs = [(run_once(unit, logits), run_once(step, logits)) for _ in range(rounds)]
    (unit_wall, unit_busy), (wall, busy) = (
        [statistics.median(times) for times in zip(*runs, strict=True)] for runs in zip(*pairs, strict=True)
    )
    return {
        "ms": round(1e3 * wall, 2),
        "unit_ms": round(1e3 * unit_wall, 2),
        "units": round(wall / unit_wall, 3),
        "processor_units": round(busy / unit_busy, 3),
        "rounds": rounds,
    }


def peak_megabytes(step: Step, logits: Tensor) -> float:
    """Return the largest sum of memory that torch held at once for one pass, beyond its inputs."""
    logits.grad = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the profiler's own
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            step().backward()
    held = peak = 0
    assert profiler.profiler is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return round(peak / 2**20, 1)


def measure_all(shape: tuple[int, ...], options: argparse.Namespace, skip: set[str]) -> Iterator[Result]:
    """Measure everything on one shape: ours, then the peers, then ours with many components."""
    logits, target = batch(shape, COMPONENTS)
    unit = partial(nnunet_ce(), logits, target)
    steps: dict[str, Callable[[], Step]] = {UNIT: lambda: unit}
    steps |= {key: partial(ours, key, logits, target) for key in list_losses(options.only)}
    steps |= {name: partial(partial, loss, logits, target) for name, loss in available()[0].items()}
    for name in [name for name in steps if name not in skip]:
        step = steps[name]()
        figures = measure(step, unit, logits, options.rounds)
        figures["peak_megabytes"] = peak_megabytes(step, logits)
        yield {"loss": name, "shape": shape, "components": COMPONENTS, "at_most": limit_of(name), **figures}
    yield from measure_many(shape, options)


def measure_many(shape: tuple[int, ...], options: argparse.Namespace) -> Iterator[Result]:
    """Measure the losses that look at components, on many of them."""
    logits, target = batch(shape, MANY)
    unit = partial(nnunet_ce(), logits, target)
    for key in sorted(set(PER_COMPONENT) & set(list_losses(options.only))):
        figures = measure(ours(key, logits, target), unit, logits, options.rounds)
        yield {"loss": key, "shape": shape, "components": MANY, "at_most": limit_of(key), **figures}


def processor() -> str:
    """Return the name of the processor, as far as the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def installed(name: str) -> str:
    """Return the version of a package, or that it is absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one small batch, three rounds")
    parser.add_argument("--only", default="*", help="pattern of our keys")
    parser.add_argument("--rounds", type=int, help="measured rounds; default 9, quick 3")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, default=Path("build/bench_losses.json"), help="where figures go")
    parser.add_argument("--table", type=Path, help="where the page with the table goes")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 9)
    return options


def main() -> None:
    """Measure, print, write."""
    options = parse()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", module="torch|monai|kornia|smp_losses")
    report: dict[str, Any] = {
        "unit": UNIT,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "versions": {name: installed(name) for name in LIBRARIES},
        "not_measured": available()[1],
        "load_before": [round(load, 1) for load in os.getloadavg()],
    }
    report["results"] = []
    slow: set[str] = set()
    for shape in SHAPES[options.quick]:
        for result in measure_all(shape, options, slow):
            show(result)
            report["results"].append(result)
            report["load_after"] = [round(load, 1) for load in os.getloadavg()]
            write(report, options)
            if result["ms"] > TOO_SLOW:
                slow.add(result["loss"])
    for name, reason in report["not_measured"].items():
        print(f"not measured: {name} ({reason})")


def write(report: dict[str, Any], options: argparse.Namespace) -> None:
    """Write what has been measured so far."""
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.table:
        beside = options.json.with_name("geometry.json")
        geometry = json.loads(beside.read_text()) if beside.exists() else None
        options.table.write_text(page(report, geometry))


if __name__ == "__main__":
    main()
