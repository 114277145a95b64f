"""Unpacking a zip file that may be hostile."""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812 - an exception class

from .errors import Code, Refusal

if TYPE_CHECKING:
    from zipfile import ZipInfo

_MAXIMUM_FILES = 10_000
_MAXIMUM_BYTES = 16 * 2**30
_CHUNK = 2**20


def extract(archive: Path, folder: Path, *, maximum_bytes: int = _MAXIMUM_BYTES) -> None:
    """Unpack a zip file into an empty folder.

    Args:
        archive: the zip file.
        folder: where to.
        maximum_bytes: how much the files may hold together, counted while they are written.

    Raises:
        Refusal: BUNDLE_UNREADABLE for a damaged file, names that lead outside, links, duplicates, encrypted
            files, and for more than the budget.
    """
    try:
        with ZipFile(archive) as bundle:
            entries = [entry for entry in bundle.infolist() if not entry.is_dir()]
            _check(entries, maximum_bytes)
            budget = maximum_bytes
            for entry in entries:
                budget -= _write(bundle, entry, folder, budget)
    except (FileExistsError, NotADirectoryError) as error:
        raise _refusal("The zip file holds a name twice, as a file and as a folder.") from error
    except (BadZipFile, ZlibError, EOFError, NotImplementedError) as error:
        raise _refusal(f"{archive.name} is a damaged zip file: {error}.") from error


def _check(entries: list[ZipInfo], maximum_bytes: int) -> None:
    if len(entries) > _MAXIMUM_FILES or sum(entry.file_size for entry in entries) > maximum_bytes:
        raise _refusal(f"The zip file holds more than {_MAXIMUM_FILES} files or {maximum_bytes} bytes.")
    if len({entry.filename.casefold() for entry in entries}) != len(entries):
        raise _refusal("The zip file holds a name twice.")
    for entry in entries:
        name = PurePosixPath(entry.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.filename or ":" in entry.filename:
            raise _refusal(f"The zip file holds {entry.filename!r}, which leads outside.")
        mode = entry.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _refusal(f"The zip file holds {entry.filename!r}, which is no plain file.")
        if entry.flag_bits & 1:
            raise _refusal(f"The zip file's {entry.filename!r} is encrypted.")


def _write(bundle: ZipFile, entry: ZipInfo, folder: Path, budget: int) -> int:
    """Unpack one file within the budget, whatever the zip file says its size is; return the size."""
    target = folder / PurePosixPath(entry.filename)
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with bundle.open(entry) as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > budget:
                raise _refusal(f"{entry.filename!r} unpacks to more than it says.")
            sink.write(chunk)
    return written


def _refusal(detail: str) -> Refusal:
    return Refusal(
        Code.BUNDLE_UNREADABLE, detail, remedy="Fetch the bundle again, or export the model again."
    )
