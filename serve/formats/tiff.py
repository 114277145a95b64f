"""TIFF files, checked before they are decoded."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import tifffile

from nnunet_losses.serve.errors import Refusal

from .integrity import read_head
from .layout import corrupt, truncated, unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .limits import Limits

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@contextmanager
def open_tiff(path: Path, limits: Limits) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF whose first series of pages is whole and within the budgets.

    Files that others are named in (OME) are not followed: an upload must not open its neighbours.

    Raises:
        Refusal: for what is damaged, incomplete, too large, or packed in a way that needs another package.
    """
    _check_chain(path)
    try:
        with tifffile.TiffFile(path, _multifile=False) as file:
            _check_pages(path, file, limits)
            yield file
    except Refusal:
        raise
    except Exception as error:  # tifffile raises whatever the damage leads to
        if "imagecodecs" in str(error):
            raise unsupported(
                path.name,
                "is packed in a way that needs the package imagecodecs.",
                remedy="Save it uncompressed or with zlib, or install imagecodecs beside this package.",
            ) from error
        raise corrupt(path.name, "it could not be decoded.", observed=type(error).__name__) from error


def check_magic(path: Path, ending: str, magic: Sequence[bytes]) -> None:
    """Refuse a file whose first bytes are not its ending's.

    Raises:
        Refusal: INPUT_UNSUPPORTED_FORMAT.
    """
    head = read_head(path, compressed=False)
    if not head.startswith(tuple(magic)):
        raise unsupported(
            path.name,
            f"is not a picture of the kind {ending}, although its name says so.",
            remedy="Send the picture itself, under a name that says what it is.",
            observed=head[:8].hex(),
            expected=[one.hex() for one in magic],
        )


def _check_chain(path: Path) -> None:
    """Follow the pages' directories to the last one: tifffile leaves out pages that are cut off."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = ">" if file.read(2) == b"MM" else "<"
        big = file.read(2) in (b"+\0", b"\0+")
        file.seek(8 if big else 4)
        offset = _number(file, order + ("Q" if big else "I"), path.name)
        seen: set[int] = set()
        while offset:
            if offset in seen:
                raise corrupt(path.name, "its list of pages runs in a circle.")
            seen.add(offset)
            if offset >= size:
                raise truncated(path.name, size, None)
            offset = _next_directory(file, offset, order, big=big, name=path.name)


def _next_directory(file: BinaryIO, offset: int, order: str, *, big: bool, name: str) -> int:
    """Offset of the directory after the one at ``offset``; 0 after the last."""
    file.seek(offset)
    entries = _number(file, order + ("Q" if big else "H"), name)
    file.seek(offset + (8 + 20 * entries if big else 2 + 12 * entries))
    return _number(file, order + ("Q" if big else "I"), name)


def _number(file: BinaryIO, form: str, name: str) -> int:
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise truncated(name, file.tell(), None)
    number: int = struct.unpack(form, data)[0]
    return number


def _check_pages(path: Path, file: tifffile.TiffFile, limits: Limits) -> None:
    series = file.series[0]
    limits.check_decoded(path.name, series.nbytes)
    limits.check_picture(path.name, file.pages.first.imagewidth, file.pages.first.imagelength)
    size = path.stat().st_size
    begin = series.dataoffset  # of one run of bytes, maybe with one page that describes them all
    if begin is not None and (needed := begin + series.nbytes) > size:
        raise truncated(path.name, size, needed)
    for page in series.pages:
        if page is not None or begin is None:
            _check_page(path.name, page, size)


def _check_page(name: str, page: Any, size: int) -> None:
    if page is None or not page.dataoffsets or 0 in page.databytecounts:
        raise truncated(name, size, None)  # tifffile would fill in zeros
    ends = (begin + count for begin, count in zip(page.dataoffsets, page.databytecounts, strict=True))
    if (needed := max(ends, default=0)) > size:
        raise truncated(name, size, needed)
