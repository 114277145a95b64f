"""How long predictions take, stage by stage, and how much memory: of a bundle, and of nnU-Net beside it.

Every contender is the command that a user would run, in a fresh process, on the same files and cores. The
contenders take turns, round by round, so that whatever else the machine does hits all of them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.extras import install_command

from .bench_machine import describe_machine, pinned
from .bench_process import Measured, measure
from .bench_records import Contender, Report, Run, summarize
from .errors import Code, Refusal
from .formats import companions, read_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .bundle import Bundle
    from .formats import Case

STOCK = "nnUNetv2_predict_from_modelfolder"
CPU, CUDA = "cpu", "cuda"


def own_contender(
    bundle: Path, *, backend: str, precision: str, threads: int, extra: Sequence[str] = ()
) -> Contender:
    """``nnunet-losses predict`` with an engine."""
    start = (sys.executable, "-c", "from nnunet_losses.cli import main; main()")
    options = ("--backend", backend, "--precision", precision, "--threads", str(threads), *extra)
    name = " ".join([backend, *([] if precision == "auto" else [precision]), *extra])
    return Contender(name, (*start, "predict", str(bundle), "{input}", "-o", "{output}", *options))


def stock_contender(model: Path, bundle: Bundle, *, device: str = CPU) -> Contender:
    """nnU-Net's own predictor with one process for reading and one for writing.

    Raises:
        Refusal: where it is not installed, or the bundle is more than one configuration.
    """
    command = shutil.which(STOCK) or shutil.which(STOCK, path=str(Path(sys.executable).parent))
    if command is None:
        raise Refusal(
            Code.BACKEND_UNAVAILABLE,
            f"{STOCK} is not installed.",
            remedy=f"Install it with: {install_command('train')}, or leave out --against.",
        )
    members = bundle.description.members
    if len(members) > 1:
        raise Refusal(
            Code.BUNDLE_UNSUPPORTED,
            f"The bundle holds {len(members)} configurations; {STOCK} runs one.",
            remedy="Compare bundles of one configuration, or leave out --against.",
        )
    folds = [fold.name for fold in members[0].folds]
    options = ("-m", str(model), "-f", *folds, "-device", device, "-npp", "1", "-nps", "1")
    return Contender(f"nnU-Net ({device})", (command, "-i", "{input}", "-o", "{output}", *options))


def run_bench(
    bundle: Bundle,
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    *,
    repeats: int,
    cores: int,
    has_reference: bool,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Report:
    """Time all contenders.

    Args:
        bundle: for labels, readers and file endings.
        cases: to predict.
        contenders: in the table's order; the reference comes last.
        repeats: rounds.
        cores: that all of them get, by the process's affinity.
        has_reference: whether the last contender is what the others are compared with.
        progress: called with (contender, runs done, runs to do) before each run.

    Raises:
        Refusal: where nnU-Net could not read the files under the model's file ending.
        ValueError: for repeats or cores below 1.
    """
    if min(repeats, cores) < 1:
        raise ValueError(f"repeats is {repeats}, cores is {cores}; expected at least 1")
    runs: list[Run] = []
    failed: set[str] = set()
    with TemporaryDirectory(prefix="nnunet-losses-bench-") as scratch, pinned(cores):
        source = _staged(cases, bundle, Path(scratch) / "in")
        for turn in range(repeats * len(contenders)):
            contender = contenders[turn % len(contenders)]
            progress(contender.name, turn, repeats * len(contenders))
            if contender.name not in failed:
                output = Path(scratch) / f"out{turn % len(contenders)}"
                runs.append(_run(contender, source, output))
                failed |= {contender.name} if runs[-1].failure else set()
        masks = [_masks(Path(scratch) / f"out{index}", cases, bundle) for index in range(len(contenders))]
    differing = [_differing(mask, masks[-1]) if has_reference else None for mask in masks]
    reference = contenders[-1].name if has_reference else None
    summaries = summarize(runs, contenders, differing, reference)
    voxels = max((sum(mask.size for mask in found.values()) for found in masks), default=0)
    return Report(
        machine=describe_machine(cores),
        bundle=bundle.description.name,
        bundle_sha256=bundle.sha256,
        cases=len(cases),
        voxels=voxels,
        repeats=repeats,
        reference=reference,
        summaries=summaries,
        runs=tuple(runs),
        remarks=_remarks(runs, cases, cores),
    )


def _staged(cases: Sequence[Case], bundle: Bundle, folder: Path) -> Path:
    """Link the files into a folder under nnU-Net's names, for all contenders alike."""
    ending = bundle.description.file_ending
    folder.mkdir()
    for case in cases:
        for index, file in enumerate(case.files):
            if not file.name.lower().endswith(ending.lower()):
                raise Refusal(
                    Code.INPUT_UNSUPPORTED_FORMAT,
                    f"{file.name} does not end in {ending}, the only ending that nnU-Net reads here.",
                    remedy=f"Convert the images to {ending}.",
                )
            (folder / f"{case.name}_{index:04d}{ending}").symlink_to(file.resolve())
        for file in companions(case.files, bundle.description.reader):
            if file.is_file():
                (folder / f"{case.name}.json").symlink_to(file.resolve())
    return folder


def _run(contender: Contender, source: Path, output: Path) -> Run:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    folders = {"{input}": str(source), "{output}": str(output)}
    measured = measure([folders.get(part, part) for part in contender.command])
    if measured.code:
        return _failed(contender, measured)
    answers = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(output.glob("*.json"))]
    manifests = [answer["manifest"] for answer in answers if "manifest" in answer]
    return Run(
        contender.name,
        measured.seconds,
        measured.peak_bytes,
        measured.load,
        stages=_sums(manifest["timings"] for manifest in manifests),
        tiles=sum(manifest["tiles"] for manifest in manifests),
        forward_passes=sum(manifest["forward_passes"] for manifest in manifests),
        engine=f"{manifests[0]['provider']}, {manifests[0]['precision']}" if manifests else None,
    )


def _failed(contender: Contender, measured: Measured) -> Run:
    lines = [line.strip() for line in measured.said.splitlines() if line.strip()]
    reason = " ".join(lines[-6:])[-600:] or "it said nothing"
    failure = f"exit status {measured.code}: {reason}"
    return Run(contender.name, measured.seconds, measured.peak_bytes, measured.load, failure=failure)


def _sums(timings: Iterator[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in timings:
        for stage, seconds in one.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total


def _masks(output: Path, cases: Sequence[Case], bundle: Bundle) -> dict[str, Any]:
    description = bundle.description
    files = {case.name: output / f"{case.name}{description.file_ending}" for case in cases}
    return {
        name: read_mask(file, reader=description.reader) for name, file in files.items() if file.is_file()
    }


def _differing(masks: Mapping[str, Any], reference: Mapping[str, Any]) -> int | None:
    if not reference or masks.keys() != reference.keys():
        return None
    return sum(int(np.count_nonzero(masks[name] != reference[name])) for name in masks)


def _remarks(runs: Sequence[Run], cases: Sequence[Case], cores: int) -> tuple[str, ...]:
    loads = [run.load for run in runs if run.load is not None]
    remarks = ["Seconds are of whole commands, from process start to the last written file; medians of runs."]
    if len(cases) > 1:
        remarks.append("Stages of different cases overlap: their sum may be more than the whole.")
    if loads and max(loads) > cores + 0.5:
        remarks.append(
            f"The machine was busy (load {min(loads):.1f} to {max(loads):.1f} on {cores} cores): seconds are "
            "too high and uncertain; only ratios within this table say something."
        )
    if not hasattr(os, "sched_setaffinity"):
        remarks.append("This system does not let a process choose its cores: nnU-Net takes all of them.")
    return tuple(remarks)
