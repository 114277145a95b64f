"""Everything but the network, stage by stage: ours beside nnU-Net's own functions, in turns.

    python benchmarks/pipeline.py [--case ct|thick|small] [--repeat 3] [--threads 2] [--json FILE]

The network is a function that both sides call; its time is taken off. Prints medians, how far the results lie
apart, by how much each stage raises the resident memory, and the peak of the whole run in a process of its
own. The full case takes some minutes, and 7 GB for nnU-Net's resampling of the logits.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from body_phantom import CASES, STATISTICS, Phantom

if TYPE_CHECKING:
    from collections.abc import Sequence

STAGES = ("read", "preprocess", "stitch", "labels", "write")


@dataclass(frozen=True)
class Row:
    """One stage, or a sum of stages: medians in seconds, resident memory in MB."""

    stage: str
    nnunet: float
    ours: float
    nnunet_memory: float | None
    ours_memory: float | None
    difference: str = ""

    @property
    def ratio(self) -> float:
        return self.nnunet / self.ours


def plan(case: Phantom) -> dict[str, Any]:
    """What both sides must know about the model: a member of a bundle."""
    resampling = {"order_z": 0, "force_separate_z": None}
    channel = {"name": "CT", "normalization": "CTNormalization", **STATISTICS}
    return {
        "name": "3d_fullres",
        "folds": [{"name": "0", "file": "fold_0.onnx", "sha256": "", "checkpoint_sha256": ""}],
        "preprocessing": {
            "transpose_forward": (0, 1, 2),
            "spacing": case.network_spacing,
            "channels": [channel],
            "resampling_image": {"order": 3, **resampling},
            "resampling_logits": {"order": 1, **resampling},
        },
        "tiling": {"patch_size": case.patch},
    }


class Ours:
    """The stages in this package."""

    def __init__(self, case: Phantom, work: Path, threads: int) -> None:
        from nnunet_losses.serve.schema import Label, Member

        self.case, self.work, self.threads = case, work, threads
        self.member = Member.model_validate(plan(case))
        labels = range(1, case.classes)
        self.labels_ = [Label(name=str(v), channel=v, value=v, members=(v,)) for v in labels]
        self.network_seconds = 0.0

    def read(self) -> Any:
        from nnunet_losses.serve.formats.reading import read_image
        from nnunet_losses.serve.schema import Reader

        self.image = read_image([self.work / "case_0000.nii.gz"], reader=Reader.SIMPLE_ITK)
        return self.image.data

    def preprocess(self) -> Any:
        from nnunet_losses.serve.pipeline.preprocess import preprocess

        self.preprocessed = preprocess(self.image, self.member, threads=self.threads)
        return self.preprocessed.data

    def stitch(self) -> Any:
        from nnunet_losses.serve.backends import CallableNetwork, TileOutput
        from nnunet_losses.serve.pipeline.stitch import Stitcher, Tiles

        network = CallableNetwork(self.case.logits)
        network.run = lambda tile: TileOutput(self.case.logits(tile))  # type: ignore[method-assign] # no copy
        stitcher = Stitcher(self.member.tiling, self.case.classes, threads=self.threads)
        tiles = Tiles.cut(self.preprocessed.data, self.member.tiling)
        self.logits = stitcher.logits(tiles, [lambda: network])
        self.network_seconds = stitcher.network_seconds
        return self.logits

    def labels(self) -> Any:
        from types import SimpleNamespace

        from nnunet_losses.serve.pipeline.labels import label_mask
        from nnunet_losses.serve.pipeline.resample import plan_resize
        from nnunet_losses.serve.schema import Head

        before = self.preprocessed
        spacings = (before.network_spacing, before.spacing)
        resampling = self.member.preprocessing.resampling_logits
        resize = plan_resize(self.logits.shape[1:], before.cropped_shape, spacings, resampling)
        description: Any = SimpleNamespace(head=Head.SOFTMAX, labels=self.labels_)
        self.mask = np.zeros(before.uncropped_shape, np.uint8)
        self.mask[before.box] = label_mask(self.logits, resize, description, threads=self.threads)
        return self.mask

    def write(self) -> Any:
        from nnunet_losses.serve.formats.writing import write_mask
        from nnunet_losses.serve.schema import Reader

        path = self.work / "ours.nii.gz"
        write_mask(self.mask, path, geometry=self.image.geometry, reader=Reader.SIMPLE_ITK)
        return path.read_bytes()


class NnUNet:
    """The stages in nnU-Net, by its own functions."""

    def __init__(self, case: Phantom, work: Path, threads: int) -> None:
        import torch
        from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        torch.set_num_threads(threads)
        self.case, self.work, self.threads = case, work, threads
        self.reader = SimpleITKIO()
        self.manager = PlansManager(self._plans())
        self.configuration = self.manager.get_configuration("3d_fullres")
        labels = {"background": 0, **{str(value): value for value in range(1, case.classes)}}
        self.dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
        self.network_seconds = 0.0

    def _plans(self) -> dict[str, Any]:
        member = plan(self.case)["preprocessing"]

        def resampling(which: str, *, is_seg: bool) -> dict[str, Any]:
            return {"is_seg": is_seg, **member[which]}

        configuration = {
            "preprocessor_name": "DefaultPreprocessor",
            "architecture": {"network_class_name": "none", "arch_kwargs": {}, "_kw_requires_import": []},
            "spacing": list(self.case.network_spacing),
            "patch_size": list(self.case.patch),
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data_kwargs": resampling("resampling_image", is_seg=False),
            "resampling_fn_seg_kwargs": resampling("resampling_logits", is_seg=True),
            "resampling_fn_probabilities_kwargs": resampling("resampling_logits", is_seg=False),
            **{f"resampling_fn_{name}": "resample_data_or_seg_to_shape"
               for name in ("data", "seg", "probabilities")},
        }  # fmt: skip
        return {
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "label_manager": "LabelManager",
            "configurations": {"3d_fullres": configuration},
            "foreground_intensity_properties_per_channel": {"0": STATISTICS},
        }

    def read(self) -> Any:
        self.data, self.properties = self.reader.read_images([str(self.work / "case_0000.nii.gz")])
        return self.data

    def preprocess(self) -> Any:
        preprocessor = self.configuration.preprocessor_class(verbose=False)
        self.preprocessed, _, _ = preprocessor.run_case_npy(
            self.data, None, self.properties, self.manager, self.configuration, self.dataset
        )
        return self.preprocessed

    def stitch(self) -> Any:
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        self.network_seconds = 0.0
        predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
        predictor.manual_initialization(
            _TimedNetwork(self), self.manager, self.configuration, [{}], self.dataset, "nnUNetTrainer", None
        )
        data = torch.from_numpy(self.preprocessed)
        self.logits = predictor.predict_logits_from_preprocessed_data(data)
        return self.logits.numpy()

    def labels(self) -> Any:
        from nnunetv2.inference.export_prediction import (
            convert_predicted_logits_to_segmentation_with_correct_shape as convert,
        )

        manager = self.manager.get_label_manager(self.dataset)
        self.mask = convert(
            self.logits,
            self.manager,
            self.configuration,
            manager,
            self.properties,
            num_threads_torch=self.threads,
        )
        return self.mask

    def write(self) -> Any:
        path = self.work / "nnunet.nii.gz"
        self.reader.write_seg(self.mask, str(path), self.properties)
        return path.read_bytes()


def _TimedNetwork(owner: NnUNet) -> Any:  # noqa: N802 - makes a class, since torch is imported late
    import torch

    class Timed(torch.nn.Module):
        def forward(self, tile: torch.Tensor) -> torch.Tensor:
            start = time.perf_counter()
            logits = torch.from_numpy(owner.case.logits(tile.numpy()))
            owner.network_seconds += time.perf_counter() - start
            return logits

    return Timed()


SIDES = {"nnunet": NnUNet, "ours": Ours}


def difference(stage: str, reference: Any, result: Any) -> str:
    """How far two results lie apart, in words."""
    if stage == "write":
        return "same bytes" if reference == result else "other bytes"
    if stage == "labels":
        return f"{np.count_nonzero(reference != result)} of {result.size} voxels"
    largest = max(
        float(abs(one.astype(np.float32) - two).max()) for one, two in zip(result, reference, strict=True)
    )
    return f"max {largest:.1e}"


class Memory:
    """Resident memory of this process, where the kernel tells it."""

    def __init__(self) -> None:
        self.start = self._field("VmRSS")
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the high-water mark
        except OSError:
            self.start = None

    def rise(self) -> float | None:
        """MB between the start and the peak since."""
        peak = self._field("VmHWM")
        return None if self.start is None or peak is None else peak - self.start

    @staticmethod
    def _field(name: str) -> float | None:
        status = Path("/proc/self/status")
        lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
        found = [int(line.split()[1]) / 1024 for line in lines if line.startswith(name)]
        return found[0] if found else None


def run_stage(side: Ours | NnUNet, stage: str) -> tuple[float, float | None, Any]:
    """Seconds outside the network, rise of memory in MB, result."""
    memory = Memory()
    start = time.perf_counter()
    result = getattr(side, stage)()
    seconds = time.perf_counter() - start
    return seconds - (side.network_seconds if stage == "stitch" else 0.0), memory.rise(), result


def compare(case: Phantom, work: Path, repeat: int, threads: int) -> list[Row]:
    """Every stage of both sides in turns."""
    sides = NnUNet(case, work, threads), Ours(case, work, threads)
    rows = []
    for stage in STAGES:
        runs: tuple[list[Any], list[Any]] = ([], [])
        apart = ""
        for _ in range(repeat):
            results = []
            for side, kept in zip(sides, runs, strict=True):
                seconds, memory, result = run_stage(side, stage)
                kept.append((seconds, memory))
                results.append(result)
            apart = difference(stage, *results)
        seconds_ = [statistics.median(run[0] for run in kept) for kept in runs]
        memory_ = [None if kept[0][1] is None else max(run[1] for run in kept) for kept in runs]
        rows.append(Row(stage, *seconds_, *memory_, apart))
        print_row(rows[-1])
    return rows


def sums(rows: Sequence[Row]) -> list[Row]:
    """All stages, without and with stitching."""
    chosen = {
        "without stitching": [row for row in rows if row.stage != "stitch"],
        "with stitching": list(rows),
    }
    return [
        Row(name, sum(row.nnunet for row in some), sum(row.ours for row in some), None, None)
        for name, some in chosen.items()
    ]


def whole_run(side: str, options: argparse.Namespace, work: Path) -> float | None:
    """Peak resident memory in MB of one side's stages, one after the other in a fresh process."""
    command = [sys.executable, __file__, "--case", options.case, "--threads", str(options.threads)]
    command += ["--slices", str(options.slices)] if options.slices else []
    done = subprocess.run(
        [*command, "--work", str(work), "--whole", side], check=True, capture_output=True, text=True
    )
    peak = json.loads(done.stdout.splitlines()[-1])["peak_mb"]
    return None if peak is None else float(peak)


def run_whole(side: Ours | NnUNet) -> None:
    """All stages of one side; print the peak."""
    for stage in STAGES:
        getattr(side, stage)()
    print(json.dumps({"peak_mb": Memory._field("VmHWM")}))  # noqa: SLF001


def print_row(row: Row) -> None:
    memory = ["" if value is None else f"+{value:.0f} MB" for value in (row.nnunet_memory, row.ours_memory)]
    print(
        f"{row.stage:18s} {row.nnunet:9.3f} s {row.ours:9.3f} s {row.ratio:6.1f}x "
        f"{memory[0]:>10s} {memory[1]:>10s}  {row.difference}",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, default="ct")
    parser.add_argument("--slices", type=int, help="other than the case's: time and memory go with them")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--work", type=Path, help="folder for the image and the masks; a temporary one")
    parser.add_argument("--peaks", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--whole", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if min(options.repeat, options.threads, 1 if options.slices is None else options.slices) < 1:
        parser.error("--repeat, --threads and --slices must be at least 1")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(options.threads))
    case = CASES[options.case]
    if options.slices is not None:
        case = replace(case, shape=(options.slices, *case.shape[1:]))
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        if options.whole:
            run_whole(SIDES[options.whole](case, work, options.threads))
            return
        case.write(work / "case_0000.nii.gz")
        print(f"{'':18s} {'nnU-Net':>11s} {'ours':>11s} {'ratio':>7s} {'peak nnU-Net':>11s} {'ours':>9s}")
        rows = compare(case, work, options.repeat, options.threads)
        rows += sums(rows)
        for row in rows[-2:]:
            print_row(row)
        peaks = {side: whole_run(side, options, work) for side in SIDES} if options.peaks else {}
    for side, peak in peaks.items():
        print(f"peak of the whole run, {side}: {'unknown' if peak is None else f'{peak:.0f} MB'}")
    if options.json:
        report = {
            "case": options.case,
            "shape": case.shape,
            "threads": options.threads,
            "load": os.getloadavg()[0],
            "peaks_mb": peaks,
        }
        report["rows"] = [asdict(row) | {"ratio": row.ratio} for row in rows]
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
