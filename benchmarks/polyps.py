"""The data of the comparison on polyps: images of 128x128, and photographs that are none.

    python benchmarks/polyps.py ../shared/data/polyp2d polyps128

Writes ``Dataset501_Polyps128`` (nnU-Net's raw format) and ``photographs`` into the folder: the colour
pictures that scikit-image ships. docs/evidence/polyps_protocol.md has the command of the comparison.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import skimage
from PIL import Image

SIZE = (128, 128)
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "color.png", "hubble_deep_field.jpg", "ihc.png",
               "motorcycle_left.png", "motorcycle_right.png", "retina.jpg", "rocket.jpg")  # fmt: skip
RESAMPLING = {"images": Image.Resampling.BOX, "labels": Image.Resampling.NEAREST}


def write_dataset(source: Path, target: Path) -> None:
    """Shrink every image by averaging, every mask by taking the nearest pixel."""
    for part in ("Tr", "Ts"):
        for kind, resampling in RESAMPLING.items():
            folder = target / f"{kind}{part}"
            folder.mkdir(parents=True, exist_ok=True)
            for file in sorted((source / folder.name).glob("*.png")):
                Image.open(file).resize(SIZE, resampling).save(folder / file.name)
    shutil.copyfile(source / "dataset.json", target / "dataset.json")


def write_photographs(target: Path) -> None:
    """Squash the photographs as the polyps were squashed."""
    target.mkdir(parents=True, exist_ok=True)
    for name in PHOTOGRAPHS:
        file = Path(skimage.__file__).parent / "data" / name
        picture = Image.open(file).convert("RGB").resize(SIZE, Image.Resampling.BOX)
        picture.save(target / f"{file.stem}_0000.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="raw data set of 256x256 pictures with test labels")
    parser.add_argument("target", type=Path, help="folder that is made")
    given = parser.parse_args()
    write_dataset(given.source, given.target / "Dataset501_Polyps128")
    write_photographs(given.target / "photographs")


if __name__ == "__main__":
    main()
