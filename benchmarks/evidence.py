"""The papers' claims as five comparisons in small, on phantoms: a check of the machinery, no evidence.

    python benchmarks/evidence.py evidence-quick

Its whole time was never measured; interrupted, the same command goes on. Every comparison has its own
report; ``index.html`` lists them. docs/evidence says what the claims are, and what was tested longer.
"""

from __future__ import annotations

import argparse
import html
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from nnunet_losses.phantom_files import write_dataset
from nnunet_losses.phantom_settings import Phantom

NOTE = (
    "A check of the machinery: a tiny network, phantoms, a training of seconds. "
    "This is no evidence about any loss."
)
LENGTH = ("--epochs", "8", "--iterations-per-epoch", "12", "--validation-iterations", "2")
NETWORK = ("--features", "4", "8", "16", "--patch", "48", "48", "--batch", "4", "--device", "cpu")
ODYSSEY = (
    "asymmetric", "ce", "dice", "dice_boundary", "dice_ce", "dice_focal", "dice_hausdorff", "dice_topk",
    "exp_log", "focal", "focal_tversky", "generalized_dice", "iou", "lovasz", "dpce", "penalty_gdice",
    "sensitivity_specificity", "topk", "tversky", "weighted_ce",
)  # fmt: skip
PHI = ("dice_image", "dice_class", "dice_batch", "dice_all", "dice_image_eps")


@dataclass(frozen=True)
class Claim:
    """One comparison.

    Attributes:
        name: of its folder.
        title: what it asks.
        losses: that are compared.
        lesion_free: share of the cases without a lesion, in training and test.
        radius: of lesions, as a share of the organ's.
        lesions: number in a case.
        missing: whether every second training label is erased though its lesions are there.
        options: of the comparison.
    """

    name: str
    title: str
    losses: tuple[str, ...]
    lesion_free: float = 0.0
    radius: tuple[float, float] = (0.16, 0.42)
    lesions: tuple[int, int] = (1, 3)
    missing: bool = False
    options: tuple[str, ...] = field(default=("--seeds", "1"))


CLAIMS = (
    Claim("1_ce_dice", "Cross-entropy, Dice and their combinations; trained on lesions, judged without, too",
          ("ce", "dice", "ce_dice", "ce_to_dice_linear", "ce_to_dice_finetune"), options=("--seeds", "2")),
    Claim("2_instances", "Blob and component losses against Dice, by lesion size",
          ("dice", "dice_ce", "blob_dice", "cc_dice_ce", "cat_mil"), radius=(0.06, 0.45), lesions=(3, 6)),
    Claim("3_boundary", "Boundary loss added to a region loss, on small lesions",
          ("dice", "generalized_dice", "dice_boundary"), radius=(0.06, 0.12), lesions=(1, 2)),
    Claim("4_empty", "Phi and epsilon where half of the cases are truly empty", PHI, lesion_free=0.5),
    Claim("4_missing", "Phi and epsilon where half of the labels are missing", PHI, missing=True),
    Claim("5_odyssey", "The twenty losses of the odyssey", ODYSSEY),
)  # fmt: skip


def run(claim: Claim, output: Path, slots: int) -> int:
    """Write the phantoms, and compare; return the exit status of the command."""
    data = output / "data" / claim.name
    dataset, negatives = written(claim, data)
    command = [sys.executable, "-c", "from nnunet_losses.cli import main; main()", "compare", str(dataset)]
    command += ["--losses", *claim.losses, *LENGTH, *NETWORK, *claim.options, "--slots", str(slots)]
    command += ["--negatives", str(negatives), "--note", NOTE, "--output", str(output / claim.name)]
    print("$", " ".join(command), flush=True)
    return subprocess.run(command, check=False).returncode


def written(claim: Claim, folder: Path) -> tuple[Path, Path]:
    """Data set of a claim, and images without any lesion; written once."""
    name = "Dataset901_Phantom"
    if not (folder / "written").exists():
        kind = Phantom(size=(64, 64), spacing=(1.0, 1.0), labelling="lesion", lesion_radius=claim.radius,
                       lesions=claim.lesions, file_ending=".png")  # fmt: skip
        (folder / "free").mkdir(parents=True, exist_ok=True)
        write_dataset(
            folder, cases=20, test_cases=12, lesion_free=claim.lesion_free, seed=1, name=name, settings=kind
        )
        write_dataset(
            folder / "free", cases=1, test_cases=8, lesion_free=1.0, seed=2, name=name, settings=kind
        )
        if claim.missing:
            erase_every_second(folder / name / "labelsTr")
        (folder / "written").touch()
    return folder / name, folder / "free" / name / "imagesTs"


def erase_every_second(labels: Path) -> None:
    """Empty every second mask."""
    for file in sorted(labels.glob("*.png"))[::2]:
        Image.fromarray(np.zeros_like(np.array(Image.open(file)))).save(file)


def write_index(output: Path) -> Path:
    """List the reports."""
    rows = "".join(
        f'<li><a href="{claim.name}/report/index.html">{html.escape(claim.title)}</a></li>'
        for claim in CLAIMS
    )
    page = output / "index.html"
    page.write_text(
        f'<!doctype html><meta charset="utf-8"><title>Evidence in small</title><h1>Evidence in small</h1>'
        f"<p><b>{NOTE}</b></p><ul>{rows}</ul>\n"
    )
    return page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="folder for everything")
    parser.add_argument("--slots", type=int, default=2, help="trainings at once")
    parser.add_argument("--only", nargs="*", choices=[claim.name for claim in CLAIMS], help="default: all")
    given = parser.parse_args()
    statuses = {
        claim.name: run(claim, given.output, given.slots)
        for claim in CLAIMS
        if not given.only or claim.name in given.only
    }
    print(f"report: {write_index(given.output)}")
    failed = [name for name, status in statuses.items() if status]
    sys.exit(f"Not every cell of {', '.join(failed)} has a result; its report names them." if failed else 0)


if __name__ == "__main__":
    main()
