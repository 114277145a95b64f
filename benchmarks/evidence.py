"""The papers' claims as comparisons on phantoms.

    python benchmarks/evidence.py evidence-quick               # a check of the machinery, no evidence
    python benchmarks/evidence.py evidence-phantoms --full     # evidence, about phantoms

Interrupted, the same command goes on. Every comparison has its own report; ``index.html`` lists them, with
what they took. docs/evidence says what the claims are, and what came out.
"""

from __future__ import annotations

import argparse
import html
import json
import resource
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from nnunet_losses.phantom_files import write_dataset
from nnunet_losses.phantom_settings import Phantom

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.phantom_settings import Labelling

ITERATIONS = 50  # of an epoch
NETWORK = ("--features", "8", "16", "32", "--patch", "64", "64", "--batch", "4", "--variant", "Adam1en3")
MACHINE = ("--validation-iterations", "4", "--device", "cpu", "--threads", "1")
USABLE = 0.6  # mean Dice below which a network shows nothing about its loss
TIMES = "times.jsonl"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{text-align:left;vertical-align:top;padding:.4rem .8rem;"
    "border-top:1px solid #ddd}"
)
ODYSSEY = (
    "asymmetric", "ce", "dice", "dice_boundary", "dice_ce", "dice_focal", "dice_hausdorff", "dice_topk",
    "exp_log", "focal", "focal_tversky", "generalized_dice", "iou", "lovasz", "dpce", "penalty_gdice",
    "sensitivity_specificity", "topk", "tversky", "weighted_ce",
)  # fmt: skip
RELATIVE = "DiceBoundary_schedulerebalancerelative"  # the weight moves over the whole training
# dim lesions in noise: brighter ones are all found, and then no loss can be better than another
CONTRAST, NOISE = (0.1, 0.35), 0.06
# of two labels: with one, image and class are the same, and so are batch and all
PHI = ("dice_image", "dice_class", "dice_batch", "dice_all", "dice_image_eps")


@dataclass(frozen=True)
class Size:
    """How long and on how many phantoms every comparison runs.

    Attributes:
        title: of the list of reports.
        note: what the reports say about what they are worth.
        epochs: of a training.
        cases: for training and validation.
        test_cases: with references.
        free_cases: further ones, none of which has a lesion.
    """

    title: str
    note: str
    epochs: int
    cases: int
    test_cases: int
    free_cases: int


QUICK = Size(
    "Evidence in small",
    "A check of the machinery: a tiny network, phantoms, a training of half a minute. "
    "This is no evidence about any loss.",
    epochs=12, cases=24, test_cases=20, free_cases=12,
)  # fmt: skip
FULL = Size(
    "Evidence on phantoms",
    "Phantoms, a tiny network, a training of a minute: what the losses do here, and nothing about patients.",
    epochs=12, cases=48, test_cases=60, free_cases=40,
)  # fmt: skip


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
        missing: whether the lesions of every second training label are erased though they are there.
        labelling: of the phantoms.
        quick: number of seeds in small.
        full: number of seeds else.
    """

    name: str
    title: str
    losses: tuple[str, ...]
    lesion_free: float = 0.0
    radius: tuple[float, float] = (0.16, 0.42)
    lesions: tuple[int, int] = (1, 3)
    missing: bool = False
    labelling: Labelling = "lesion"
    quick: int = 1
    full: int = 3

    def seeds(self, size: Size) -> int:
        """Number of trainings of each loss."""
        return self.quick if size is QUICK else self.full


CLAIMS = (
    Claim("1_ce_dice", "Cross-entropy, Dice and their combinations; trained on lesions, judged without, too",
          ("ce", "dice", "ce_dice", "ce_to_dice_linear", "ce_to_dice_finetune"), quick=2, full=2),
    Claim("2_instances", "Blob and component losses against Dice, by lesion size",
          ("dice", "dice_ce", "blob_dice", "cc_dice_ce", "cat_mil"), radius=(0.06, 0.45), lesions=(3, 6)),
    Claim("3_boundary", "Boundary loss added to a region loss, on small lesions",
          ("dice", "generalized_dice", "dice_boundary", RELATIVE), radius=(0.06, 0.12), lesions=(1, 2)),
    Claim("4_empty", "Phi and epsilon where half of the cases are truly empty", PHI,
          lesion_free=0.5, labelling="organ_lesion"),
    Claim("4_missing", "Phi and epsilon where half of the labels are missing", PHI,
          missing=True, labelling="organ_lesion"),
    Claim("5_odyssey", "The twenty losses of the odyssey", ODYSSEY, full=1),
)  # fmt: skip


def run(claim: Claim, size: Size, output: Path, arguments: Sequence[str]) -> bool:
    """Write the phantoms, and compare; whether every training has a result."""
    dataset, negatives = written(claim, size, output / "data" / claim.name)
    command = [sys.executable, "-c", "from nnunet_losses.cli import main; main()", "compare", str(dataset)]
    command += ["--losses", *claim.losses, *NETWORK, *MACHINE, "--seeds", str(claim.seeds(size)), *arguments]
    command += ["--negatives", str(negatives), "--note", size.note, "--output", str(output / claim.name)]
    print("$", shlex.join(command), flush=True)
    begun, before = time.monotonic(), _processor_seconds()
    status = subprocess.run(command, check=False).returncode
    took = {"seconds": time.monotonic() - begun, "processor_seconds": _processor_seconds() - before}
    (output / claim.name).mkdir(exist_ok=True)
    with (output / claim.name / TIMES).open("a") as file:  # one line for each time it was started
        file.write(json.dumps(took) + "\n")
    return status == 0


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def written(claim: Claim, size: Size, folder: Path) -> tuple[Path, Path]:
    """Data set of a claim, and images without any lesion; written once."""
    name = "Dataset901_Phantom"
    if not (folder / "written").exists():
        kind = Phantom(size=(64, 64), spacing=(1.0, 1.0), labelling=claim.labelling,
                       lesion_radius=claim.radius, lesions=claim.lesions,
                       contrast=CONTRAST, noise=NOISE, file_ending=".png")  # fmt: skip
        (folder / "free").mkdir(parents=True, exist_ok=True)
        write_dataset(folder, cases=size.cases, test_cases=size.test_cases,
                      lesion_free=claim.lesion_free, seed=1, name=name, settings=kind)  # fmt: skip
        write_dataset(folder / "free", cases=1, test_cases=size.free_cases,
                      lesion_free=1.0, seed=2, name=name, settings=kind)  # fmt: skip
        if claim.missing:
            erase_every_second(folder / name / "labelsTr")
        (folder / "written").touch()
    return folder / name, folder / "free" / name / "imagesTs"


def erase_every_second(labels: Path) -> None:
    """Erase the lesions of every second mask; they are the last label."""
    for file in sorted(labels.glob("*.png"))[::2]:
        mask = np.array(Image.open(file))
        mask[mask == 2] = 1  # organ
        Image.fromarray(mask).save(file)


def write_index(output: Path, size: Size) -> Path:
    """List the reports with what they say, what they took, and whether anything was learned at all."""
    rows = "".join(_row(claim, size, output / claim.name) for claim in CLAIMS)
    page = output / "index.html"
    page.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>'
        f"{size.title}</title><style>{STYLE}</style><h1>{size.title}</h1><p><b>{size.note}</b></p><table><tr><th>comparison</th>"
        "<th>its headline</th><th>trainings</th><th>best mean Dice</th><th>minutes</th></tr>"
        f"{rows}</table></html>\n"
    )
    return page


def _row(claim: Claim, size: Size, folder: Path) -> str:
    report = folder / "report"
    if not (report / "results.json").is_file():
        return f"<tr><td>{html.escape(claim.title)}</td><td>not run</td></tr>"
    results = json.loads((report / "results.json").read_text("utf-8"))
    losses = results["losses"]
    best = max(one["figures"]["dice"]["value"] or 0.0 for one in losses.values())
    trainings = sum(len(one["trainings"]) for one in losses.values())
    cells = (
        f'<a href="{claim.name}/report/index.html">{html.escape(claim.title)}</a>',
        html.escape(results["recommendation"]["headline"]),
        f"{trainings} of {len(claim.losses) * claim.seeds(size)}",
        f"{best:.2f}{'' if best >= USABLE else ': no usable network, so nothing can be seen'}",
        f"{sum(_times(folder, 'seconds')) / 60:.1f}",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _times(folder: Path, key: str) -> list[float]:
    file = folder / TIMES
    return [json.loads(line)[key] for line in file.read_text().splitlines()] if file.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="folder for everything")
    parser.add_argument("--full", action="store_true", help="on more phantoms, with more seeds")
    parser.add_argument("--slots", type=int, default=2, help="trainings at once")
    parser.add_argument("--epochs", type=int, help="instead of the size's own")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, help="of an epoch")
    parser.add_argument("--only", nargs="*", choices=[claim.name for claim in CLAIMS], help="default: all")
    given = parser.parse_args()
    size = FULL if given.full else QUICK
    length = ["--epochs", str(given.epochs or size.epochs), "--iterations-per-epoch", str(given.iterations)]
    chosen = [claim for claim in CLAIMS if not given.only or claim.name in given.only]
    done = {
        claim.name: run(claim, size, given.output, [*length, "--slots", str(given.slots)]) for claim in chosen
    }
    page = write_index(given.output, size)
    minutes = {
        key: sum(sum(_times(given.output / claim.name, key)) for claim in chosen) / 60
        for key in ("seconds", "processor_seconds")
    }
    print(f"{minutes['seconds']:.0f} minutes, {minutes['processor_seconds']:.0f} of processors")
    print(f"report: {page}")
    failed = [name for name, whole in done.items() if not whole]
    sys.exit(f"Not every cell of {', '.join(failed)} has a result; its report names them." if failed else 0)


if __name__ == "__main__":
    main()
