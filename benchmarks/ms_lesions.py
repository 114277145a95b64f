"""The data of the comparison on lesions of multiple sclerosis: slabs of two brains.

    python benchmarks/ms_lesions.py ../shared/data/mslesion3d ms

Writes ``Dataset503_Lesions`` (nnU-Net's raw format) into the folder. A case is a slab of five axial slices;
every second one is for test, and a slice between neighbours belongs to none.
docs/evidence/ms_lesions_protocol.md has the command of the comparison.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib

DATASET = "Dataset503_Lesions"
WINDOW = (slice(18, 162), slice(20, 196))  # voxels that hold either brain
FIRST, LAST, THICK, PERIOD = 43, 133, 5, 6  # axial slices; lesions lie between 43 and 136


def slabs() -> list[tuple[slice, str]]:
    """Axial slices of every slab, and the folder's ending.

    Example:
        >>> slabs()[:2], len(slabs())
        ([(slice(43, 48, None), 'Tr'), (slice(49, 54, None), 'Ts')], 15)
    """
    starts = range(FIRST, LAST, PERIOD)
    return [(slice(start, start + THICK), ("Tr", "Ts")[number % 2]) for number, start in enumerate(starts)]


def write_slabs(source: Path, target: Path, *, kind: str) -> None:
    """Cut every volume of ``imagesTr`` or ``labelsTr``; ``_0000`` and the like stay at the end of names."""
    for file in sorted((source / f"{kind}Tr").glob("*.nii.gz")):
        image = nib.load(file)
        patient, channel = _named(file.name.removesuffix(".nii.gz"), kind)
        for number, (slices, part) in enumerate(slabs()):
            folder = target / f"{kind}{part}"
            folder.mkdir(parents=True, exist_ok=True)
            cut = image.slicer[(*WINDOW, slices)]
            nib.save(cut, folder / f"{patient}_slab{number:02d}{channel}.nii.gz")


def _named(stem: str, kind: str) -> tuple[str, str]:
    return (stem[:-5], stem[-5:]) if kind == "images" else (stem, "")


def write_description(source: Path, target: Path) -> None:
    """Write ``dataset.json`` with the number of slabs for training."""
    known = json.loads((source / "dataset.json").read_text("utf-8"))
    known["numTraining"] = len(list((target / "labelsTr").glob("*.nii.gz")))
    (target / "dataset.json").write_text(json.dumps(known, indent=1), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="raw data set with volumes in MNI space at 1 mm")
    parser.add_argument("target", type=Path, help="folder that is made")
    given = parser.parse_args()
    for kind in ("images", "labels"):
        write_slabs(given.source, given.target / DATASET, kind=kind)
    write_description(given.source, given.target / DATASET)


if __name__ == "__main__":
    main()
