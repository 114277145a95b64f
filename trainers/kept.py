"""Numbers about a data set that take long to count, kept in a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_KEY = "voxels_of_label"


def kept(path: Path, count: Callable[[], Sequence[float]], *, about: dict[str, Any]) -> list[float]:
    """Read numbers of voxels from a file, or count them and write it.

    Trainings that begin at the same time may all count: each writes the whole file in one step, and all write
    the same. A damaged file is replaced; a folder that cannot be written keeps nothing.

    Args:
        path: whose name says what the numbers depend on.
        count: returns the number of voxels of label 0, 1, ...
        about: written beside the numbers, for readers.
    """
    found = _read(path)
    if found is not None:
        return found
    counted = list(count())
    try:
        write_atomically(path, json.dumps({**about, _KEY: counted}, indent=1))
    except OSError as error:
        print(f"nnunet-losses: the label counts are not kept, {path.parent} cannot be written ({error}).")  # noqa: T201 - as nnU-Net reports
    return counted


def _read(path: Path) -> list[float] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return [float(number) for number in content[_KEY]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"nnunet-losses: {path} cannot be read ({error!r}); its numbers are counted anew.")  # noqa: T201 - as nnU-Net reports
        return None
