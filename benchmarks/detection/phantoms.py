"""The phantoms of the proofs: two data sets, the models trained with them, and any number of fresh cases.

    python -m benchmarks.detection.phantoms --work /tmp/proof

Trains both models with nnU-Net's stock commands and exports them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.phantom import Phantom, case_seed, make_case, write_dataset
from nnunet_losses.serve.image import Geometry, Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from nnunet_runs import Dataset, Runs

if TYPE_CHECKING:
    from nnunet_losses.phantom import Case

SEED = 20261122
LESION_FREE = 0.3  # share of the cases
FRESH = 7  # number of the split in the cases' seeds; training has 0, and nothing else has this one
TRAINER = "nnUNetTrainerDiceCE_5epochs"


@dataclass(frozen=True)
class Kind:
    """A data set of phantoms.

    Attributes:
        name: short.
        settings: what the images are like.
        training: cases that the network is trained with, and that the scores are fitted to.
        held_out: cases of the fold's validation part.
        reduction: arguments of tools/reduced_plans.py.
    """

    name: str
    number: int
    settings: Phantom
    training: int
    held_out: int
    reduction: tuple[str, ...]

    @property
    def configuration(self) -> str:
        """nnU-Net's."""
        return "2d" if self.settings.dimension == 2 else "3d_fullres"

    def write(self, folder: Path) -> Dataset:
        """Write the data set, and the fold: the first cases train, the others are held out."""
        name = f"Dataset{self.number}_{self.name}"
        source = folder / name
        if not source.exists():
            write_dataset(folder, cases=self.training + self.held_out, test_cases=0, seed=SEED,
                          lesion_free=LESION_FREE, name=name, settings=self.settings)  # fmt: skip
        return Dataset(self.number, self.name, source, self.configuration, self.reduction)

    def splits(self) -> list[dict[str, list[str]]]:
        """One fold in nnU-Net's form."""
        names = [f"case_{index:03d}" for index in range(self.training + self.held_out)]
        return [{"train": names[: self.training], "val": names[self.training :]}]

    def fresh(self, index: int) -> Case:
        """Case that is in no data set; every index gives another one."""
        seed = case_seed(SEED, split=FRESH, index=index)
        free = np.random.default_rng([seed, 1]).random() < LESION_FREE
        return make_case(replace(self.settings, lesions=(0, 0)) if free else self.settings, seed)


PLANE = Kind(
    name="Plane",
    number=931,
    settings=Phantom(size=(48, 48), spacing=(1.0, 1.0), lesions=(1, 3)),
    training=200,
    held_out=40,
    reduction=("--features", "8", "16", "32", "--batch", "6", "--patch", "48", "48"),
)
"""Small pictures with one channel: tens of thousands of them can be made."""

VOLUME = Kind(
    name="Volume",
    number=932,
    settings=Phantom(size=(20, 40, 40), spacing=(1.5, 1.0, 1.0), lesions=(1, 3), channels=("T1", "T2")),
    training=100,
    held_out=100,
    reduction=("--features", "8", "16", "32", "--batch", "2", "--patch", "16", "40", "40"),
)
"""Volumes with two channels."""

KINDS = {"plane": PLANE, "volume": VOLUME}


def image_of(case: Case, ending: str) -> Image:
    """The image as the served pipeline reads it from the case's file, without the file.

    ``tests/benchmarks`` holds it against the readers.
    """
    if ending == ".png":
        data = np.clip(np.rint(case.image * (255 / 1500)), 0, 255).astype(np.float32)[:, None]
        return Image(data, (999.0, 1.0, 1.0), Geometry(2, (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)), "")
    geometry = Geometry(3, case.spacing[::-1], case.origin, case.direction)
    z, y, x = case.spacing
    return Image(np.minimum(case.image, 32767).astype(np.float32), (z, y, x), geometry, "")


def bundle(kind: Kind, work: Path) -> Path:
    """Train and export; steps whose result exists are not repeated."""
    runs = Runs(work)
    dataset = kind.write(work / "data")
    preprocessed = runs.preprocessed(dataset)
    (preprocessed / "splits_final.json").write_text(json.dumps(kind.splits(), indent=1))
    return runs.bundle(runs.trained(dataset, TRAINER))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--only", choices=KINDS, help="one of the two")
    arguments = parser.parse_args()
    for name in [arguments.only] if arguments.only else KINDS:
        print(bundle(KINDS[name], arguments.work))


if __name__ == "__main__":
    main()
