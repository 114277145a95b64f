"""Whether a file is whole, in one pass: hash, decompression with its check sums, length.

ITK reads a truncated, a bit-flipped and a wrongly check-summed ``.nii.gz`` without a word, and fills the rest
of the volume with zeros; of a NIfTI file it also turns voxels that are not finite into zeros. So every
file is read to its end here first, with a budget on what comes out.
"""

from __future__ import annotations

import bz2
import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal

from .layout import REMEDY_EXPORT, Codec, Layout, Notes, corrupt, truncated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from .limits import Limits

CHUNK = 1 << 20
GZIP_OR_ZLIB = 47  # window bits: recognise either by its header
GZIP_MAGIC = b"\x1f\x8b"
HEAD_BYTES = 1 << 16


class Hash(Protocol):
    """What ``hashlib`` gives."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""


def check_exists(path: Path, limits: Limits) -> int:
    """Size of the file in bytes; refuses what is absent, no file, unreadable, empty or too large."""
    if not path.exists():
        raise Refusal(
            Code.INPUT_MISSING, f"{path.name} does not exist.", remedy="Check the name.", observed=path.name
        )
    if not path.is_file():
        raise Refusal(Code.INPUT_UNREADABLE, f"{path.name} is not a file.", remedy="Name an image file.")
    size = path.stat().st_size
    if size == 0:
        raise Refusal(Code.INPUT_TRUNCATED, f"{path.name} is empty.", remedy=REMEDY_EXPORT, observed=0)
    limits.check_file(path.name, size)
    return size


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the file's bytes in pieces; a refusal where the system cannot read them."""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        detail = f"{path.name} cannot be read: {error.strerror}."
        raise Refusal(Code.INPUT_UNREADABLE, detail, remedy="Check the file and its permissions.") from error


def read_head(path: Path, *, compressed: bool) -> bytes:
    """Return the first 64 KiB of the file, unpacked where it is a gzip file."""
    head = next(read_chunks(path), b"")
    if not compressed:
        return head[:HEAD_BYTES]
    try:
        return _unpack_head(head)
    except zlib.error as error:
        raise corrupt(path.name, "its compression is broken.", observed=str(error)) from error


def _unpack_head(packed: bytes) -> bytes:
    """Unpack the first 64 KiB of a gzip file, which may consist of several members."""
    head = b""
    while packed and len(head) < HEAD_BYTES:
        member = zlib.decompressobj(GZIP_OR_ZLIB)
        head += member.decompress(packed, HEAD_BYTES - len(head))
        packed = member.unused_data.lstrip(b"\0")
    return head


@dataclass(frozen=True, eq=False)
class Whole:
    """What was found in a whole file: warnings, and which voxels (flat, in its order) are not finite."""

    warnings: Notes
    non_finite: NDArray[np.intp]


def check_whole(path: Path, layout: Layout, *, limits: Limits, digest: Hash) -> Whole:
    """Read the file to its end, and compare what comes out with what its header announces.

    Args:
        path: the file.
        layout: what its header announces.
        limits: budgets, checked before unpacking; no more is unpacked than the header announces.
        digest: receives every byte of the file.

    Raises:
        Refusal: for a file that is too large, incomplete, damaged, or holds other voxels than it announces.
    """
    expected = layout.expected_bytes
    limits.check_decoded(path.name, expected)
    voxels = _Voxels(layout)
    for piece in _unpacked(path, layout, digest):
        voxels.add(piece)
        _check_surplus(path.name, voxels.bytes - expected, layout)  # at once: a bomb is not unpacked
    if voxels.bytes < expected:
        raise truncated(path.name, voxels.bytes, expected)
    return Whole(_surplus_warnings(path.name, voxels.bytes - expected), voxels.non_finite())


class _Voxels:
    """Counts bytes, and finds floating-point voxels that are not finite."""

    def __init__(self, layout: Layout) -> None:
        self.bytes = 0
        self._layout = layout
        self._rest = b""
        self._seen = 0
        self._found: list[NDArray[np.intp]] = []

    def add(self, piece: bytes) -> None:
        skip = max(0, self._layout.voxels_at - self.bytes)
        self.bytes += len(piece)
        if self._layout.floating is not None:
            self._examine(self._rest + piece[skip:], np.dtype(self._layout.floating))

    def _examine(self, data: bytes, dtype: np.dtype[Any]) -> None:
        count = len(data) // dtype.itemsize
        broken = np.flatnonzero(~np.isfinite(np.frombuffer(data, dtype, count)))
        if broken.size:
            self._found.append(broken + self._seen)
        self._seen += count
        self._rest = data[count * dtype.itemsize :]

    def non_finite(self) -> NDArray[np.intp]:
        found = np.concatenate(self._found) if self._found else np.empty(0, np.intp)
        return found[found < math.prod(self._layout.sizes)]


def _check_surplus(name: str, surplus: int, layout: Layout) -> None:
    """Refuse a whole slice or more behind the voxels: then the header's sizes are wrong."""
    if surplus >= layout.slice_bytes:
        raise corrupt(
            name,
            f"after the voxels that its header announces follow {surplus:,} more bytes, or more.",
            observed=layout.expected_bytes + surplus,
            expected=layout.expected_bytes,
        )


def _surplus_warnings(name: str, surplus: int) -> Notes:
    if surplus <= 0:
        return ()
    return (("input.surplus_bytes", f"{name} has {surplus} bytes after its voxels; they were ignored."),)


def _unpacked(path: Path, layout: Layout, digest: Hash) -> Iterator[bytes]:
    """Yield the pieces that come out of the packed part, while hashing the whole file."""
    unpacker = _unpacker(path.name, layout.codec)
    skip = layout.packed_at
    for chunk in read_chunks(path):
        digest.update(chunk)
        packed = chunk[skip:]
        skip = max(0, skip - len(chunk))
        yield from unpacker.unpack(packed)
    unpacker.finish()


def _unpacker(name: str, codec: Codec) -> Unpacker | Plain:
    return Plain() if codec is Codec.NONE else Unpacker(name, codec)


class Plain:
    """Bytes that are not packed."""

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Yield the bytes."""
        yield data

    def finish(self) -> None:
        """There is nothing to check."""


class Unpacker:
    """Decompresses piece by piece, ``CHUNK`` bytes at most; zlib and bzip2 verify their check sums."""

    def __init__(self, name: str, codec: Codec) -> None:
        self._name = name
        self._codec = codec
        self._stream = self._fresh()
        self._produced = 0
        self._begun = False

    def _fresh(self) -> _Stream:
        return _Deflate() if self._codec is Codec.DEFLATE else _Bzip2()

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Unpack a piece; yields what comes out, in pieces."""
        try:
            yield from self._unpack(data)
        except (zlib.error, OSError) as error:
            what = "its check sum or its compression is wrong, so its contents cannot be trusted."
            raise corrupt(self._name, what, observed=str(error)) from error

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        while data or self._stream.pending:
            if self._stream.ended:  # another member follows, or zeros that fill up a block
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._stream = self._fresh()
            self._begun = True
            piece, data = self._stream.unpack(data)
            self._produced += len(piece)
            yield piece

    def finish(self) -> None:
        """Refuse a stream that has not reached its end."""
        if not self._begun or not self._stream.ended:
            raise truncated(self._name, self._produced, None)


class _Stream(Protocol):
    @property
    def ended(self) -> bool: ...

    @property
    def pending(self) -> bool: ...

    def unpack(self, data: bytes) -> tuple[bytes, bytes]: ...


class _Deflate:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(GZIP_OR_ZLIB)
        self._filled = False  # the last piece was full: more may wait

    @property
    def ended(self) -> bool:
        return self._stream.eof

    @property
    def pending(self) -> bool:
        return self._filled and not self._stream.eof

    def unpack(self, data: bytes) -> tuple[bytes, bytes]:
        piece = self._stream.decompress(data, CHUNK)
        self._filled = len(piece) == CHUNK
        return piece, self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail


class _Bzip2:
    def __init__(self) -> None:
        self._stream = bz2.BZ2Decompressor()

    @property
    def ended(self) -> bool:
        return self._stream.eof

    @property
    def pending(self) -> bool:
        return not (self._stream.needs_input or self._stream.eof)

    def unpack(self, data: bytes) -> tuple[bytes, bytes]:
        piece = self._stream.decompress(data, CHUNK)
        return piece, self._stream.unused_data if self._stream.eof else b""
