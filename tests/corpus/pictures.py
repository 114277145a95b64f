"""Pictures that are damaged, several, too large, or none."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from PIL import Image

from nnunet_losses.serve.errors import Code

from ..serve.formats.files import cut, flip_bit, png_chunk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[[Path], Path]

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def pixels(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 255, shape, np.uint8)


def png(folder: Path, mode: str = "RGB") -> Path:
    Image.fromarray(pixels(20, 30, 3)).convert(mode).save(folder / "a.png")
    return folder / "a.png"


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def raw_png(*chunks: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / "a.png").write_bytes(SIGNATURE + b"".join(chunks) + png_chunk(b"IEND", b""))
        return folder / "a.png"

    return make


def animated(folder: Path) -> Path:
    frames = [Image.fromarray(pixels(20, 30, 3)), Image.fromarray(255 - pixels(20, 30, 3))]
    frames[0].save(folder / "a.png", save_all=True, append_images=frames[1:])
    return folder / "a.png"


def bmp(folder: Path) -> Path:
    Image.fromarray(pixels(20, 30, 3)).save(folder / "a.bmp")
    return folder / "a.bmp"


def tiff(folder: Path, *shape: int, **options: Any) -> Path:
    tifffile.imwrite(folder / "a.tif", pixels(*(shape or (20, 30, 3))), **options)
    return folder / "a.tif"


def tag(folder: Path, number: int, value: int) -> Path:
    """A grey TIFF with another value of a tag of 32 or 16 bits."""
    file = folder / "a.tif"
    tifffile.imwrite(file, pixels(20, 30), bigtiff=False, metadata=None)
    with tifffile.TiffFile(file) as opened:
        at, size = (found := opened.pages.first.tags[number]).valueoffset, found.dtype
    data = bytearray(file.read_bytes())
    struct.pack_into("<H" if int(size) == 3 else "<I", data, at, value)
    file.write_bytes(data)
    return file


def loop(folder: Path) -> Path:
    """A TIFF whose list of pages leads back to its first one."""
    file = folder / "a.tif"
    tifffile.imwrite(file, pixels(20, 30), bigtiff=False, metadata=None)
    data = bytearray(file.read_bytes())
    (begin,) = struct.unpack_from("<I", data, 4)
    (tags,) = struct.unpack_from("<H", data, begin)
    struct.pack_into("<I", data, begin + 2 + 12 * tags, begin)
    file.write_bytes(data)
    return file


def named(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


ROWS = zlib.compress(bytes(4 * 13))

PICTURES: dict[str, tuple[Make, Code]] = {
    "an animation": (animated, Code.INPUT_UNSUPPORTED_FORMAT),
    "grey with transparency": (lambda folder: png(folder, "LA"), Code.INPUT_UNSUPPORTED_FORMAT),
    "png cut": (lambda folder: cut(png(folder), 0.6), Code.INPUT_TRUNCATED),
    "png cut in the header": (lambda folder: cut(png(folder), 0.01), Code.INPUT_TRUNCATED),
    "png with a bit flip": (lambda folder: flip_bit(png(folder), 0.5), Code.INPUT_CORRUPT),
    "png of 60,000 x 60,000": (
        raw_png(header(60000, 60000), png_chunk(b"IDAT", ROWS)),
        Code.INPUT_TOO_LARGE,
    ),
    "png of no width": (raw_png(header(0, 4), png_chunk(b"IDAT", ROWS)), Code.INPUT_CORRUPT),
    "png with a palette that is not there": (
        raw_png(header(4, 4, 8, 3), png_chunk(b"IDAT", zlib.compress(bytes(20)))),
        Code.INPUT_CORRUPT,
    ),
    "png without pixels": (raw_png(header(4, 4)), Code.INPUT_TRUNCATED),
    "text named png": (named("a.png", b"text" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "jpeg named png": (named("a.png", b"\xff\xd8\xff\xe0" + bytes(99)), Code.INPUT_UNSUPPORTED_FORMAT),
    "bmp cut": (lambda folder: cut(bmp(folder), 0.6), Code.INPUT_TRUNCATED),
    "bmp of 60,000 x 60,000": (
        lambda folder: named(
            "a.bmp", bmp(folder).read_bytes()[:18] + struct.pack("<ii", 60000, 60000) + bytes(999)
        )(folder),
        Code.INPUT_TOO_LARGE,
    ),
    "tiff of two pages": (
        lambda folder: tiff(folder, 2, 20, 30, photometric="minisblack"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "tiff cut": (lambda folder: cut(tiff(folder), 0.5), Code.INPUT_TRUNCATED),
    "tiff of 60,000 columns and rows": (
        lambda folder: wide(folder),  # noqa: PLW0108 - defined below
        Code.INPUT_TOO_LARGE,
    ),
    "tiff that leads back to itself": (loop, Code.INPUT_CORRUPT),
    "text named tif": (named("a.tif", b"text" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
}  # fmt: skip


def wide(folder: Path) -> Path:
    tag(folder, 256, 60000)
    data = bytearray((folder / "a.tif").read_bytes())
    with tifffile.TiffFile(folder / "a.tif") as opened:
        found = opened.pages.first.tags[257]
    struct.pack_into("<H" if int(found.dtype) == 3 else "<I", data, found.valueoffset, 60000)
    (folder / "a.tif").write_bytes(data)
    return folder / "a.tif"
