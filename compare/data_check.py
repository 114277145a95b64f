"""Whether data is still what the cells of an output folder saw: the bytes of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from nnunet_losses.trainers.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DATA_FILE = "data.json"


class Stamp(BaseModel):
    """A file: its bytes and time of change, which tell whether ``sha256`` must be computed anew.

    ``values``: of a training mask, once it has been looked into.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int
    changed: int
    sha256: str
    values: tuple[float, ...] | None = None


class Files(BaseModel):
    """Files that trainings learn from, and those that their networks are judged on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    training: dict[Path, Stamp]
    judging: dict[Path, Stamp]


def stamp_files(training: Iterable[Path], judging: Iterable[Path], known: Files | None) -> Files:
    """Stamp files; of those that have not been touched since ``known``, none is read."""
    before = {**known.training, **known.judging} if known else {}
    return Files(
        training={file: _stamp(file, before.get(file)) for file in training},
        judging={file: _stamp(file, before.get(file)) for file in judging},
    )


def differences(before: Mapping[Path, Stamp], now: Mapping[Path, Stamp]) -> list[str]:
    """Say which files are new, gone or changed.

    Example:
        >>> from pathlib import Path
        >>> old, new = (Stamp(size=1, changed=1, sha256=digest) for digest in ("a", "b"))
        >>> differences({Path("a.png"): old, Path("b.png"): old}, {Path("a.png"): new, Path("c.png"): new})
        ['a.png changed', 'b.png is gone', 'c.png is new']
    """
    return [_words(file, before.get(file), now.get(file)) for file in sorted(before.keys() | now)
            if not _same(before.get(file), now.get(file))]  # fmt: skip


def read_files(output: Path) -> Files | None:
    """Read what ``write_files`` wrote; None where there is nothing, or a damaged file."""
    try:
        return Files.model_validate_json((output / DATA_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write_files(output: Path, files: Files) -> None:
    """Write stamps into the output folder."""
    write_atomically(output / DATA_FILE, files.model_dump_json(indent=1) + "\n")


def _stamp(file: Path, known: Stamp | None) -> Stamp:
    status = file.stat()
    if known is not None and (known.size, known.changed) == (status.st_size, status.st_mtime_ns):
        return known
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Stamp(size=status.st_size, changed=status.st_mtime_ns, sha256=digest)


def _same(before: Stamp | None, now: Stamp | None) -> bool:
    return before is not None and now is not None and before.sha256 == now.sha256


def _words(file: Path, before: Stamp | None, now: Stamp | None) -> str:
    if before is None:
        return f"{file.name} is new"
    return f"{file.name} is gone" if now is None else f"{file.name} changed"
