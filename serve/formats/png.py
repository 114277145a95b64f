"""Whether a PNG file is whole. https://www.w3.org/TR/png-3/.

Pillow fills rows that are missing from the data with zeros, and tells nobody.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

from .integrity import CHUNK
from .layout import corrupt, truncated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type -> values for each pixel
# first column, first row, column step, row step of each pass of an interlaced picture (Adam7)
PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def check_png(path: Path) -> None:
    """Check every chunk's check sum, and that the data holds as many rows as the header announces.

    Args:
        path: a file with PNG's signature.

    Raises:
        Refusal: INPUT_TRUNCATED or INPUT_CORRUPT.
    """
    pixels: _Pixels | None = None
    with path.open("rb") as file:
        file.seek(len(SIGNATURE))
        for kind, content in _chunks(path.name, file):
            if kind == b"IHDR":
                pixels = _Pixels(path.name, b"".join(content))
            elif kind == b"IDAT" and pixels is not None:
                pixels.add(content)
            else:
                for _ in content:
                    pass
    if pixels is None:
        raise corrupt(path.name, "it has no header.")
    pixels.finish()


def _chunks(name: str, file: BinaryIO) -> Iterator[tuple[bytes, Iterator[bytes]]]:
    """Yield the chunks' kinds and contents, up to the end mark; contents must be consumed."""
    kind = b""
    while kind != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise truncated(name, file.tell(), None)
        length, kind = struct.unpack(">I4s", head)
        yield kind, _content(name, file, kind, length)


def _content(name: str, file: BinaryIO, kind: bytes, length: int) -> Iterator[bytes]:
    check_sum = zlib.crc32(kind)
    while length:
        piece = file.read(min(length, CHUNK))
        if not piece:
            raise truncated(name, file.tell(), None)
        length -= len(piece)
        check_sum = zlib.crc32(piece, check_sum)
        yield piece
    recorded = file.read(4)
    if len(recorded) < 4:
        raise truncated(name, file.tell(), None)
    if recorded != struct.pack(">I", check_sum):
        raise corrupt(name, "a check sum is wrong, so its contents cannot be trusted.")


class _Pixels:
    """Counts the bytes that come out of the data chunks."""

    def __init__(self, name: str, header: bytes) -> None:
        self._name = name
        self._expected = _raw_bytes(name, header)
        self._observed = 0
        self._stream = zlib.decompressobj()

    def add(self, content: Iterator[bytes]) -> None:
        for piece in content:
            try:
                self._unpack(piece)
            except zlib.error as error:
                raise corrupt(self._name, "its compression is broken.", observed=str(error)) from error

    def _unpack(self, piece: bytes) -> None:
        size = CHUNK
        while (piece or size == CHUNK) and not self._stream.eof and self._observed <= self._expected:
            size = len(self._stream.decompress(piece, CHUNK))
            self._observed += size
            piece = self._stream.unconsumed_tail

    def finish(self) -> None:
        if self._observed < self._expected or not self._stream.eof:
            raise truncated(self._name, self._observed, self._expected)


def _raw_bytes(name: str, header: bytes) -> int:
    """Bytes of all rows, each with its filter byte, before compression."""
    if len(header) != 13:
        raise corrupt(name, "its header has the wrong length.", observed=len(header), expected=13)
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    if colour not in SAMPLES or depth not in (1, 2, 4, 8, 16):
        raise corrupt(name, "its header names an unknown kind of pixels.", observed=[colour, depth])
    bits = SAMPLES[colour] * depth
    grids = PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in grids)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
