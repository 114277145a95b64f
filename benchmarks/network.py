"""The network and whole commands: engines tile by tile, loading, and a full CT from process start to mask.

    python benchmarks/network.py tiles [--model MODEL_FOLDER] [--threads 1] [--repeat 6]
    python benchmarks/network.py load [--repeat 5]
    python benchmarks/network.py ct [--repeat 1] [--threads 2] [--only float32 bfloat16]

Each prints a table and writes JSON with --json FILE. Networks are nnU-Net's default for 3D (31 million
parameters, random weights) unless --model names a trained model folder. Contenders take turns. `ct` is
without mirroring and in steps of a whole patch (--step) on both sides, which changes the time of the network
and not the memory; it takes 10 minutes and more, and 8 GB for nnU-Net. Images of your own:
``nnunet-losses bench BUNDLE IMAGES --against MODEL_FOLDER``.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from body_phantom import CASES, STATISTICS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BIN = Path(sys.executable).parent
COMMANDS = ("nnU-Net", "float32", "bfloat16")
DEFAULT_FEATURES = (32, 64, 128, 256, 320, 320)
LOADING = """
from time import perf_counter, process_time
start = perf_counter()
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.predictor import Predictor
Predictor(Bundle.load({bundle!r}), backend={backend!r}).engine.provider
print(perf_counter() - start, process_time())
"""


@dataclass(frozen=True)
class Row:
    """One contender: medians, and how many times as fast as the first one."""

    what: str
    seconds: float
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    ratio: float = 1.0
    note: str = ""


def default_model(folder: Path, features: Sequence[int] = DEFAULT_FEATURES) -> Path:
    """Write a model folder for the abdominal CT; of nnU-Net's default size without other features."""
    from tests import models

    case = CASES["ct"]
    spec = models.ModelFolderSpec(
        patch_size=case.patch,
        spacing=case.network_spacing,
        channels=("CT",),
        normalization=("CTNormalization",),
        labels={"background": 0, **{f"organ {value}": value for value in range(1, case.classes)}},
        features=tuple(features),
        blocks=(2,) * len(features),
    )
    made = models.write_model_folder(folder, spec)
    plans = json.loads((made / "plans.json").read_text())
    statistics_ = {"mean": STATISTICS["mean"], "std": STATISTICS["std"], "percentile_00_5": -960.0}
    plans["foreground_intensity_properties_per_channel"]["0"] |= {**statistics_, "percentile_99_5": 600.0}
    (made / "plans.json").write_text(json.dumps(plans))
    return made


def exported(model: Path, bundle: Path) -> Path:
    from nnunet_losses.export.bundle_writer import export_bundle

    export_bundle(model, bundle)
    return bundle


def tiles(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Forward passes of one tile, in turns; CPU seconds, which others on the machine disturb least."""
    contenders = {**_torch(arguments), **_engines(arguments, work)}
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(arguments.repeat + 1):  # the first turn warms up
        for name, run in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            spent[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: [statistics.median(c) for c in zip(*s[1:], strict=True)] for name, s in spent.items()}
    first = next(iter(medians.values()))[1]
    return [Row(name, wall, cpu, ratio=first / cpu) for name, (wall, cpu) in medians.items()]


def _tile(arguments: argparse.Namespace) -> Any:
    from nnunet_losses.export.model_folder import read_model_folder

    folder = read_model_folder(arguments.model)
    patch = folder.configuration.patch_size
    shape = (1, len(folder.channel_names), *patch)
    return folder, np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _torch(arguments: argparse.Namespace) -> dict[str, Callable[[], object]]:
    import torch

    torch.set_num_threads(arguments.threads)
    folder, tile = _tile(arguments)
    network, input_ = folder.network(folder.checkpoints[0]).eval(), torch.from_numpy(tile)

    def run(dtype: torch.dtype | None = None) -> object:
        enabled = dtype is not None
        with torch.inference_mode(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=enabled):
            return network(input_)

    return {"torch float32": run, "torch bfloat16 autocast": lambda: run(torch.bfloat16)}


def _engines(arguments: argparse.Namespace, work: Path) -> dict[str, Callable[[], object]]:
    from nnunet_losses.serve.backends import open_network
    from nnunet_losses.serve.errors import Refusal
    from nnunet_losses.serve.schema import Precision

    _, tile = _tile(arguments)
    bundle = exported(arguments.model, work / "tiles.bundle")
    file = next(bundle.glob("members/*/fold_*.onnx"))
    found: dict[str, Callable[[], object]] = {}
    for backend, precision in (
        ("openvino", Precision.FLOAT32),
        ("openvino", Precision.BFLOAT16),
        ("openvino", Precision.FLOAT16),
        ("cpu", Precision.FLOAT32),
    ):
        name = f"{'OpenVINO' if backend == 'openvino' else 'ONNX Runtime'} {precision.value}"
        try:
            network = open_network(file, backend=backend, precision=precision, threads=arguments.threads)
        except Refusal as refusal:
            print(f"{name}: {refusal.detail}")
            continue
        found[name] = lambda network=network: network.run(tile)  # type: ignore[misc]
    return found


def load(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Import, verify and open a bundle in a new process."""
    from nnunet_losses.serve.bench_process import measure

    bundle = exported(arguments.model, work / "load.bundle")
    rows = []
    for backend in ("openvino", "cpu"):
        code = LOADING.format(bundle=str(bundle), backend=backend)
        runs = [measure([sys.executable, "-c", code]) for _ in range(arguments.repeat)]
        inside = [[float(word) for word in run.output.split()] for run in runs]
        cpu, within = statistics.median(one[1] for one in inside), statistics.median(one[0] for one in inside)
        peak = max(run.peak_bytes or 0 for run in runs)
        slowest = max(run.seconds for run in runs)
        note = f"{within:.2f} s of it after the interpreter's start; slowest {slowest:.2f} s"
        rows.append(Row(backend, statistics.median(run.seconds for run in runs), cpu, peak, note=note))
    return rows


def ct(arguments: argparse.Namespace, work: Path) -> list[Row]:
    """Whole commands on the CT, without mirroring, in turns."""
    from nnunet_losses.serve.bench_machine import pinned
    from nnunet_losses.serve.bench_process import measure

    (work / "images").mkdir()
    CASES["ct"].write(work / "images" / "ct_0000.nii.gz")
    bundle = exported(arguments.model, work / "ct.bundle")
    contenders = _commands(arguments, work, bundle)
    runs: dict[str, list[Any]] = {name: [] for name in contenders}
    with pinned(arguments.threads):
        for _ in range(arguments.repeat):
            for name, command in contenders.items():
                runs[name].append(measure(command))
                if runs[name][-1].code:
                    raise SystemExit(f"{name} failed:\n{runs[name][-1].said}")
                print(f"{name}: {runs[name][-1].seconds:.0f} s", flush=True)
    first = statistics.median(run.seconds for run in next(iter(runs.values())))
    return [
        Row(
            name,
            statistics.median(run.seconds for run in done),
            peak_bytes=max(run.peak_bytes or 0 for run in done),
            ratio=first / statistics.median(run.seconds for run in done),
        )
        for name, done in runs.items()
    ]


def _commands(arguments: argparse.Namespace, work: Path, bundle: Path) -> dict[str, Sequence[str]]:
    images, cores = str(work / "images"), str(arguments.threads)
    os.environ |= {f"nnUNet_{kind}": str(work) for kind in ("raw", "preprocessed", "results")}
    os.environ |= {"nnUNet_def_n_proc": cores, "OMP_NUM_THREADS": cores}
    stock = [str(BIN / "nnUNetv2_predict_from_modelfolder"), "-i", images, "-o", str(work / "stock")]
    stock += [
        "-m",
        str(arguments.model),
        "-f",
        "0",
        "-device",
        "cpu",
        "-npp",
        "1",
        "-nps",
        "1",
        "-step_size",
        str(arguments.step),
        "--disable_tta",
    ]
    ours = [str(BIN / "nnunet-losses"), "predict", str(bundle), images, "--no-mirror", "--threads", cores]
    ours += ["--overwrite", "--step", str(arguments.step)]
    every = {
        "nnU-Net": stock,
        "float32": [*ours, "--precision", "float32", "-o", str(work / "float32")],
        "bfloat16": [*ours, "--precision", "bfloat16", "-o", str(work / "bfloat16")],
    }
    return {name: command for name, command in every.items() if name in arguments.only}


PARTS = {"tiles": tiles, "load": load, "ct": ct}


def show(rows: list[Row]) -> None:
    print("| | wall s | CPU s | peak MB | times the first | |\n| --- | ---: | ---: | ---: | ---: | --- |")
    for row in rows:
        cpu = "" if row.cpu_seconds is None else f"{row.cpu_seconds:.3f}"
        peak = "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.0f}"
        print(f"| {row.what} | {row.seconds:.3f} | {cpu} | {peak} | {row.ratio:.2f} | {row.note} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--model", type=Path, help="trained model folder; else the default size, random")
    parser.add_argument(
        "--features", type=int, nargs="+", default=DEFAULT_FEATURES, help="of the random network's stages"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--step", type=float, default=1.0, help="of the sliding window in the part ct")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=COMMANDS, help="in the part ct")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        arguments.model = arguments.model or default_model(work / "model", arguments.features)
        rows = PARTS[arguments.part](arguments, work)
    show(rows)
    load_text = f"load {before:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(load_text)
    if arguments.json:
        found = {"part": arguments.part, "load": load_text, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
