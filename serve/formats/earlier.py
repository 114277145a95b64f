"""What an earlier run wrote among the images, so that nobody takes masks for images."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def without_answers(files: Sequence[Path], ending: str) -> list[Path]:
    """Leave out masks that an answer beside them names, and the maps that belong to them.

    An answer (CASE.json) holds the hash of its mask: a file of the same name that is no such mask stays.

    Args:
        files: of one folder.
        ending: of masks.
    """
    from nnunet_losses.serve.result_files import FURTHER  # noqa: PLC0415 - results are written by formats

    written = set()
    for mask in _masks(files, ending):
        case = mask.name[: -len(ending)]
        written |= {mask.name, *(f"{case}_{name}{ending}" for name in FURTHER)}
    return [file for file in files if file.name not in written]


def _masks(files: Sequence[Path], ending: str) -> Iterator[Path]:
    names = {file.name for file in files}
    for file in files:
        answer = f"{file.name[: -len(ending)]}.json"
        if file.name.endswith(ending) and answer in names and _names(file.with_name(answer), file):
            yield file


def _names(answer: Path, mask: Path) -> bool:
    """Whether a file is an answer that is about a mask."""
    try:
        manifest = json.loads(answer.read_bytes())["manifest"]
        return bool(manifest["mask_sha256"] == hashlib.sha256(mask.read_bytes()).hexdigest())
    except (OSError, ValueError, KeyError, TypeError):  # somebody else's JSON, such as nnU-Net's spacing
        return False
