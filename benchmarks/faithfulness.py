"""The whole road on real data: train, export, predict, serve; then compare with nnU-Net's own prediction.

    python benchmarks/faithfulness.py --data ../shared/data --models ../shared/models --work /tmp/faithfulness

Every step is the stock command or ours, as a user would type it. Steps whose result exists are not repeated.
Prints a table and writes ``faithfulness.json`` and ``faithfulness.md`` into the work folder.
"""

from __future__ import annotations

import argparse
import email
import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from nnunet_losses.serve.formats import read_mask

sys.path.insert(0, str(Path(__file__).parent))
from nnunet_runs import Dataset, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class Study:
    """One model and its test cases."""

    name: str
    images: Path
    file_ending: str
    labels: tuple[str, ...]
    dataset: Dataset | None = None  # None: trained already
    trainer: str = "nnUNetTrainer"
    model_folder: Path | None = None


@dataclass(frozen=True)
class Result:
    """What was measured for one study."""

    study: str
    trainer: str
    cases: int
    voxels: int
    differing_voxels: int
    differing_beyond_margin: int
    dice: dict[str, float]
    foreground_voxels: dict[str, int]
    identical_files: int
    served_identical: int
    max_tile_difference: float
    backend: str
    verify_passed: bool


def studies(data: Path, models: Path) -> list[Study]:
    """The three models of the claim."""
    # the patch of the hippocampi is smaller than the images: several tiles
    hippocampus, polyp = data / "hippocampus3d", data / "polyp2d"
    labels = ("Anterior", "Posterior")
    return [
        Study("stock", hippocampus / "imagesTs", ".nii.gz", labels, model_folder=models / "hippocampus3d"),
        Study(
            "hippocampus3d", hippocampus / "imagesTs", ".nii.gz", labels,
            trainer="nnUNetTrainerDiceTopK_2epochs",
            dataset=Dataset(501, "hippocampus3d", hippocampus, "3d_fullres",
                            ("--batch", "2", "--patch", "32", "32", "32")),
        ),
        Study(
            "polyp2d", polyp / "imagesTs", ".png", ("polyp",), trainer="nnUNetTrainerDiceCE_4epochs",
            dataset=Dataset(502, "polyp2d", polyp, "2d", ("--batch", "8", "--patch", "160", "160")),
        ),
    ]  # fmt: skip


def train(study: Study, runs: Runs) -> Path:
    """Plan, preprocess and train with the stock commands; return the model folder."""
    if study.model_folder is not None:
        return study.model_folder
    assert study.dataset is not None
    return runs.trained(study.dataset, study.trainer)


def predict_both(study: Study, model: Path, runs: Runs) -> tuple[Path, Path, Path]:
    """Predict all test cases with nnU-Net and with the bundle; return bundle, reference and prediction."""
    bundle, reference, prediction = (
        runs.work / study.name / part for part in ("bundle", "nnunet", "bundle_masks")
    )
    reference.mkdir(parents=True, exist_ok=True)
    if not (bundle / "model.json").exists():
        runs.run("nnunet-losses", "export", model, bundle)
    cases = len(list(study.images.glob(f"*_0000{study.file_ending}")))
    if len(list(reference.glob(f"*{study.file_ending}"))) < cases:
        runs.run("nnUNetv2_predict_from_modelfolder", "-i", study.images, "-o", reference, "-m", model,
                 "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1")  # fmt: skip
    runs.run("nnunet-losses", "predict", bundle, study.images, "--output", prediction, "--overwrite")
    return bundle, reference, prediction


@contextmanager
def server(bundle: Path, environment: dict[str, str]) -> Iterator[httpx.Client]:
    """Serve the bundle on a free loopback port until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["nnunet-losses", "serve", str(bundle), "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            wait_until_ready(client)
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(client: httpx.Client, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if client.get("/v2/health/ready").status_code == httpx.codes.OK:
                return
        except httpx.ConnectError:
            pass  # not listening yet: that is what is waited for
        time.sleep(0.5)
    raise TimeoutError("The service was not ready in time.")


def served_mask(client: httpx.Client, files: Sequence[Path]) -> bytes:
    """Send one case and return the mask part of the reply."""
    parts = {f"{index:04d}": (path.name, path.read_bytes()) for index, path in enumerate(files)}
    reply = client.post("/v1/segment", files=parts)
    reply.raise_for_status()
    head = f"Content-Type: {reply.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + reply.content)
    _, mask = message.get_payload()
    return mask.get_payload(decode=True)


def count_served_identical(study: Study, bundle: Path, masks: Path, environment: dict[str, str]) -> int:
    """Number of test cases whose served mask is byte for byte the predicted one."""
    same = 0
    with server(bundle, environment) as client:
        for path in sorted(masks.glob(f"*{study.file_ending}")):
            case = path.name.removesuffix(study.file_ending)
            files = sorted(study.images.glob(f"{case}_[0-9][0-9][0-9][0-9]{study.file_ending}"))
            same += served_mask(client, files) == path.read_bytes()
    return same


def compare(study: Study, reference: Path, prediction: Path) -> dict[str, Any]:
    """Voxels that differ, Dice per label pooled over all cases, and identical files."""
    names = sorted(path.name for path in reference.glob(f"*{study.file_ending}"))
    pairs = [(read_mask(reference / name), read_mask(prediction / name)) for name in names]
    dice, sizes = {}, {}
    for value, label in enumerate(study.labels, start=1):
        both = sum(int(((a == value) & (b == value)).sum()) for a, b in pairs)
        total = sum(int((a == value).sum() + (b == value).sum()) for a, b in pairs)
        dice[label] = 2 * both / total if total else 1.0
        sizes[label] = sum(int((a == value).sum()) for a, _ in pairs)
    return {
        "cases": len(names),
        "voxels": sum(a.size for a, _ in pairs),
        "differing_voxels": sum(int(np.count_nonzero(a != b)) for a, b in pairs),
        "dice": dice,
        "foreground_voxels": sizes,
        "identical_files": sum(
            (reference / name).read_bytes() == (prediction / name).read_bytes() for name in names
        ),
    }


def walk(study: Study, runs: Runs) -> Result:
    """One study from training to the served mask."""
    model = train(study, runs)
    bundle, reference, prediction = predict_both(study, model, runs)
    runs.run("nnunet-losses", "verify", bundle, model, study.images)
    parity = json.loads((bundle / "model.json").read_text())["parity"]
    return Result(
        study=study.name,
        trainer=study.trainer,
        **compare(study, reference, prediction),
        differing_beyond_margin=parity["differing_voxels_beyond_margin"],
        served_identical=count_served_identical(study, bundle, prediction, runs.environment),
        max_tile_difference=parity["max_tile_difference"],
        backend=parity["backend"],
        verify_passed=parity["passed"],
    )


def as_markdown(results: Sequence[Result]) -> str:
    """The table of docs/faithfulness.md."""
    heads = (
        "model", "trainer", "test cases", "voxels", "differ", "beyond the margin", "Dice per label",
        "identical files", "served = predicted", "largest tile difference", "engine",
    )  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for result in results:
        dice = ", ".join(f"{label} {value:.6f}" for label, value in result.dice.items())
        cells = [
            result.study, f"`{result.trainer}`", result.cases, result.voxels, result.differing_voxels,
            result.differing_beyond_margin, dice, f"{result.identical_files}/{result.cases}",
            f"{result.served_identical}/{result.cases}", f"{result.max_tile_difference:.1e}", result.backend,
        ]  # fmt: skip
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with hippocampus3d and polyp2d")
    parser.add_argument(
        "--models", type=Path, required=True, help="folder with the trained model hippocampus3d"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--only", nargs="*", help="names of studies; default: all")
    arguments = parser.parse_args()
    runs = Runs(arguments.work)
    chosen = [study for study in studies(arguments.data.resolve(), arguments.models.resolve())
              if not arguments.only or study.name in arguments.only]  # fmt: skip
    results = [walk(study, runs) for study in chosen]
    (runs.work / "faithfulness.json").write_text(json.dumps([asdict(result) for result in results], indent=2))
    (runs.work / "faithfulness.md").write_text(as_markdown(results))
    print(as_markdown(results))


if __name__ == "__main__":
    main()
