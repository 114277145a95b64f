"""Of which raw files preprocessed data was made: it outlives output folders, and others use it, too.

The note lies in the folder of the preprocessed data, which nnU-Net removes when it preprocesses anew, and in
a folder of its own there: nnU-Net takes no other files beside its own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nnunet_losses.trainers.files import write_atomically

from .sets import read_description
from .study import StudyError, some

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .data_check import Stamp
    from .sets import Case

MADE_OF_FILE = "nnunet_losses/made_of.json"
_TRAINED = ("labels", "regions_class_order", "channel_names", "modality", "file_ending",
            "overwrite_image_reader_writer")  # fmt: skip


def write_made_of(folder: Path, cases: Mapping[str, Case], stamps: Mapping[Path, Stamp]) -> None:
    """Note beside preprocessed data the SHA-256 of the files that it was made of."""
    file = folder / MADE_OF_FILE
    file.parent.mkdir(exist_ok=True)
    write_atomically(file, json.dumps(_digests(cases, stamps), indent=1) + "\n")


def check_made_of(folder: Path, cases: Mapping[str, Case], stamps: Mapping[Path, Stamp]) -> str:
    """Refuse data that was preprocessed from other files than there are now.

    Returns:
        A doubt in words where another program preprocessed it, and files are newer; else nothing.

    Raises:
        StudyError: it names the cases, and what to delete.
    """
    before = _read(folder)
    if before is None:
        return _doubt(folder, _newer(folder, cases))
    now = _digests(cases, stamps)
    changed = sorted(case for case in now if before.get(case) != now[case])
    if changed:
        raise StudyError(
            f"{folder} was preprocessed from other images or masks than the data set has now "
            f"({some(changed)} changed): restore them, or delete that folder, and the same command makes it "
            "anew; plans and splits stay, and trainings of other programs that still read it would fail"
        )
    return ""


def check_description(description: Mapping[str, Any], preprocessed: Path) -> None:
    """Refuse a ``dataset.json`` that says other things than the copy that nnU-Net planned and trains with.

    Raises:
        StudyError: it names the keys.
    """
    copy = read_description(preprocessed)
    changed = [
        f"{key} was {json.dumps(copy.get(key))}, now {json.dumps(description.get(key))}"
        for key in _TRAINED
        if copy.get(key) != description.get(key)
    ]
    if changed:
        raise StudyError(
            f"dataset.json changed since nnU-Net copied it into {preprocessed} ({some(changed, '; ')}): "
            "restore it, or move that folder away and take another output folder, and nnU-Net plans anew"
        )


def _digests(cases: Mapping[str, Case], stamps: Mapping[Path, Stamp]) -> dict[str, list[str]]:
    return {name: [stamps[file].sha256 for file in case.files] for name, case in cases.items()}


def _read(folder: Path) -> dict[str, list[str]] | None:
    try:
        found: dict[str, list[str]] = json.loads((folder / MADE_OF_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found


def _newer(folder: Path, cases: Mapping[str, Case]) -> list[str]:
    """Cases with a file that was changed after nnU-Net had preprocessed them."""
    made = {file.stem: file.stat().st_mtime_ns for file in folder.glob("*.pkl")}
    return [
        name
        for name, case in sorted(cases.items())
        if name in made and max(file.stat().st_mtime_ns for file in case.files) > made[name]
    ]


def _doubt(folder: Path, newer: list[str]) -> str:
    if not newer:
        return ""
    return (
        f"{folder} was not preprocessed by this version, so that it cannot be checked of which images; "
        f"{len(newer)} of them are newer ({some(newer)}). If they were changed, delete that folder, and take "
        "another output folder: it is made anew."
    )
