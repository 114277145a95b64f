"""The rows of the five papers on real data: every trainer by the stock command, then export and prediction.

    python benchmarks/papers.py --data ../shared/data --work /tmp/papers

Shows that each works from end to end. The trainings are far too short to rank the losses. Interrupted runs go
on where they stopped. Writes ``papers.json`` and ``papers.md`` into the work folder.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK

from nnunet_losses.serve.formats import read_mask

sys.path.insert(0, str(Path(__file__).parent))
from nnunet_runs import Dataset, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

CROP = 64  # voxels: side of a patch of the brains
EPOCHS = {"polyp2d": 4, "mslesion3d": 2, "hippocampus3d": 2}
SMALL = ("--features", "8", "16", "32", "--batch", "2", "--patch", "32", "32", "32")
ROWS = {
    "polyp2d": (
        ("cross-entropy and Dice: lesions, empties, out of distribution", "CE"),
        ("the same", "Dice"),
        ("the same, half and half", "CEDice"),
        ("the same, linear schedule", "CEToDiceLinear"),
        ("the same, fine-tuning", "CEToDiceFinetune"),
    ),
    "mslesion3d": (
        ("blob loss", "BlobDice"),
        ("blob loss", "BlobDiceCE"),
        ("losses on connected components", "CCDiceCE"),
        ("component-adaptive Tversky, multiple instances", "CATMIL"),
        ("nnU-Net's default, for comparison", "DiceCE"),
    ),
    "hippocampus3d": (
        ("boundary loss", "DiceBoundary"),
        ("odyssey: Hausdorff", "DiceHausdorff"),
        ("Phi for missing and empty labels: I", "DiceI"),
        ("the same: CI", "DiceCI"),
        ("the same: BI", "DiceBI"),
        ("the same: BCI", "DiceBCI"),
        ("the same, heuristic epsilon", "DiceIEps"),
    ),
}


@dataclass(frozen=True)
class Row:
    """What came of one training."""

    dataset: str
    paper: str
    trainer: str
    training_loss: tuple[float, ...]  # per epoch
    validation_dice: float
    test_cases: int
    test_dice: float | None  # mean over labels and the cases that have them
    empty_cases: int
    empty_cases_painted: int


def datasets(data: Path, work: Path) -> dict[str, Dataset]:
    """The three data sets, with small networks."""
    return {
        "polyp2d": Dataset(502, "polyp2d", data / "polyp2d", "2d", ("--batch", "6", "--patch", "128", "128")),
        "mslesion3d": Dataset(503, "mslesion3d", lesion_patches(data / "mslesion3d", work / "mslesion3d"),
                              "3d_fullres", SMALL),
        "hippocampus3d": Dataset(501, "hippocampus3d", data / "hippocampus3d", "3d_fullres",
                                 SMALL),
    }  # fmt: skip


def lesion_patches(source: Path, target: Path) -> Path:
    """Cut both brains into patches that hold lesions: a data set of nnU-Net's in ``target``."""
    if (target / "dataset.json").exists():
        return target
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    count = sum(cut(label, source, target) for label in sorted((source / "labelsTr").glob("*.nii.gz")))
    description = json.loads((source / "dataset.json").read_text()) | {"numTraining": count}
    (target / "dataset.json").write_text(json.dumps(description, indent=2))
    return target


def cut(label_file: Path, source: Path, target: Path) -> int:
    """Write the patches of one brain; return their number."""
    patient = label_file.name.removesuffix(".nii.gz")
    label = SimpleITK.ReadImage(label_file)
    corners = list(corners_with_lesions(SimpleITK.GetArrayViewFromImage(label)))
    for channel in sorted((source / "imagesTr").glob(f"{patient}_*.nii.gz")):
        image, ending = SimpleITK.ReadImage(channel), channel.name.removeprefix(patient)
        for index, corner in enumerate(corners):
            SimpleITK.WriteImage(crop(image, corner), target / "imagesTr" / f"{patient}_{index:02d}{ending}")
    for index, corner in enumerate(corners):
        SimpleITK.WriteImage(crop(label, corner), target / "labelsTr" / f"{patient}_{index:02d}.nii.gz")
    return len(corners)


def corners_with_lesions(label: NDArray[np.generic], lesion_voxels: int = 40) -> Iterator[tuple[int, ...]]:
    """First voxels (z, y, x) of the cubes of a grid that hold at least so many lesion voxels."""
    for cell in np.ndindex(*(size // CROP for size in label.shape)):
        corner = tuple(int(index) * CROP for index in cell)
        cube = label[tuple(slice(first, first + CROP) for first in corner)]
        if np.count_nonzero(cube) >= lesion_voxels:
            yield corner


def crop(image: SimpleITK.Image, corner: tuple[int, ...]) -> SimpleITK.Image:
    """Cut a cube out of an image, its place in the world kept."""
    return SimpleITK.RegionOfInterest(image, [CROP] * 3, corner[::-1])


def write_splits(preprocessed: Path) -> None:
    """Train on the patient with many lesions, validate on the other."""
    names = sorted(
        path.name.removesuffix(".nii.gz") for path in (preprocessed / "gt_segmentations").glob("*.nii.gz")
    )
    training = [name for name in names if "patient19" in name]
    validation = [name for name in names if "patient19" not in name]
    (preprocessed / "splits_final.json").write_text(
        json.dumps([{"train": training, "val": validation}], indent=2)
    )


def training_losses(model: Path) -> tuple[float, ...]:
    """Mean training loss of every epoch, from nnU-Net's newest log."""
    log = max((model / "fold_0").glob("training_log_*.txt"))
    return tuple(float(value) for value in re.findall(r"train_loss (-?[\d.e+-]+|nan|inf)", log.read_text()))


def score(masks: Path, references: Path, ending: str) -> tuple[int, float | None, int, int]:
    """Cases; mean Dice of the labels over cases with any; cases without any; and those of them painted."""
    dice, empty, painted = [], 0, 0
    for reference_file in sorted(references.glob(f"*{ending}")):
        reference, mask = read_mask(reference_file), read_mask(masks / reference_file.name)
        labels = [int(value) for value in np.unique(reference) if value]
        if labels:
            dice.append(np.mean([overlap(mask == value, reference == value) for value in labels]))
        else:
            empty, painted = empty + 1, painted + bool(mask.any())
    return len(dice) + empty, float(np.mean(dice)) if dice else None, empty, painted


def overlap(mask: NDArray[np.bool_], reference: NDArray[np.bool_]) -> float:
    """Dice of two masks of which one at least is not empty."""
    return float(2 * np.count_nonzero(mask & reference) / (mask.sum() + reference.sum()))


def walk(runs: Runs, dataset: Dataset, paper: str, trainer: str) -> Row:
    """One trainer from training to masks."""
    preprocessed = runs.preprocessed(dataset)
    test, references = dataset.source / "imagesTs", dataset.source / "labelsTs"
    if dataset.name == "mslesion3d":
        write_splits(preprocessed)
        test, references = validation_folder(dataset.source)
    model = runs.trained(dataset, trainer)
    masks = runs.predicted(runs.bundle(model), test)
    summary = json.loads((model / "fold_0" / "validation" / "summary.json").read_text())
    ending = ".png" if dataset.configuration == "2d" else ".nii.gz"
    return Row(dataset.name, paper, trainer, training_losses(model), summary["foreground_mean"]["Dice"],
               *score(masks, references, ending))  # fmt: skip


def validation_folder(source: Path) -> tuple[Path, Path]:
    """Images and labels of the patient that was not trained on."""
    folders = source / "imagesVal", source / "labelsVal"
    for folder, origin in zip(folders, ("imagesTr", "labelsTr"), strict=True):
        folder.mkdir(exist_ok=True)
        for file in (source / origin).glob("*patient07*"):
            if not (folder / file.name).exists():
                (folder / file.name).symlink_to(file.resolve())
    return folders


def as_markdown(rows: Sequence[Row]) -> str:
    """The table of docs/papers.md."""
    heads = ("data", "paper", "trainer", "training loss by epoch", "validation Dice", "test Dice",
             "painted lesion-free cases")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        losses = " ".join(f"{value:.3f}" for value in row.training_loss)
        dice = "" if row.test_dice is None else f"{row.test_dice:.3f}"
        painted = f"{row.empty_cases_painted}/{row.empty_cases}" if row.empty_cases else ""
        cells = [
            row.dataset,
            row.paper,
            f"`{row.trainer}`",
            losses,
            f"{row.validation_dice:.3f}",
            dice,
            painted,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with polyp2d, mslesion3d, hippocampus3d"
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--only", nargs="*", help="short trainer names, such as BlobDice; default: all")
    arguments = parser.parse_args()
    runs = Runs(arguments.work)
    rows = []
    for name, dataset in datasets(arguments.data.resolve(), runs.work).items():
        for paper, short in ROWS[name]:
            if not arguments.only or short in arguments.only:
                trainer = f"nnUNetTrainer{short}_{EPOCHS[name]}epochs"
                rows.append(walk(runs, dataset, paper, trainer))
                (runs.work / "papers.json").write_text(json.dumps([asdict(row) for row in rows], indent=2))
                (runs.work / "papers.md").write_text(as_markdown(rows))
    print(as_markdown(rows))


if __name__ == "__main__":
    main()
