"""What made a cell: versions of the packages, and of the code that trains and judges."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import nnunet_losses
from nnunet_losses import trainers
from nnunet_losses.serve import metrics
from nnunet_losses.trainers.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ORIGINS_FILE = "origins.json"
_PACKAGES = ("nnunet-losses", "nnunetv2", "torch", "numpy")
_OWN = ("batches", "cell", "prediction", "records", "reduced_plans", "scoring", "training")  # of this folder
_ROOMS = ("compare", "export", "serve", "trainers")


def origin(device: str) -> str:
    """Describe the code that runs now, in one line.

    Args:
        device: that it runs on, such as the name of a GPU.

    Example:
        >>> origin("cpu").startswith("nnunet-losses ")
        True
    """
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"{packages}, code {_code()}, on {device}"


def add_origin(folder: Path, line: str) -> None:
    """Note in a cell's folder by what it is made from now on."""
    known = read_origins(folder)
    if line not in known:
        write_atomically(folder / ORIGINS_FILE, json.dumps([*known, line], indent=1) + "\n")


def read_origins(folder: Path) -> list[str]:
    """Read by what a cell was made; nothing where that was not noted."""
    try:
        lines: list[str] = json.loads((folder / ORIGINS_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return []
    return lines


def different_origins(folders: Iterable[Path]) -> str:
    """Say in words that cells were not all made by the same code; empty where they were."""
    lines = list(dict.fromkeys(line for folder in folders for line in read_origins(folder)))
    if len(lines) < 2:
        return ""
    return (
        f"The trainings were made by {len(lines)} different versions, which may be what tells them apart: "
        f"{'; '.join(lines)}. Which made which stands in {ORIGINS_FILE} of each cell."
    )


def _code() -> str:
    digest = hashlib.sha256()
    for file in _sources():
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _sources() -> Iterator[Path]:
    """Losses, trainers, this folder's part in a cell, and metrics."""
    losses = Path(str(nnunet_losses.__file__)).parent
    yield from sorted(
        file for file in losses.rglob("*.py") if file.relative_to(losses).parts[0] not in _ROOMS
    )
    for package in (trainers, metrics):
        yield from sorted(Path(str(package.__file__)).parent.rglob("*.py"))
    yield from (Path(__file__).with_name(f"{name}.py") for name in _OWN)
