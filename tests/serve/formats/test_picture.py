"""Pictures: pixel for pixel as nnU-Net's NaturalImage2DIO, and broken ones refused."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from nnunet_losses.serve.errors import Code
from nnunet_losses.serve.formats import Limits, read_image, read_mask
from nnunet_losses.serve.schema import Reader

from .files import cut, flip_bit, png_chunk, refusal_code

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image


def read(*files: Path, limits: Limits | None = None) -> Image:
    return read_image(files, reader=Reader.NATURAL_IMAGE_2D, limits=limits or Limits())


def pixels(*shape: int, dtype: str = "uint8", high: int = 256) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def save(path: Path, array: NDArray[Any], mode: str | None = None, **options: Any) -> Path:
    picture = Pillow.fromarray(array)
    (picture if mode is None else picture.convert(mode)).save(path, **options)
    return path


def save_tiff(path: Path, array: NDArray[Any], **options: Any) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def interlaced(path: Path, array: NDArray[Any]) -> Path:
    """Write a grey PNG in the seven passes of Adam7, which Pillow can read but not write."""
    passes = (
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    )
    grids = [array[y::dy, x::dx] for y, x, dy, dx in passes]
    rows = b"".join(b"\0" + row.tobytes() for grid in grids for row in grid if row.size)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 8, 0, 0, 0, 1)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b""))
    return path


GOOD: dict[str, Callable[[Path], Path]] = {
    "grey.png": lambda path: save(path, pixels(9, 8)),
    "grey16.png": lambda path: save(path, pixels(9, 8, dtype="uint16", high=60000)),
    "rgb.png": lambda path: save(path, pixels(9, 8, 3)),
    "rgba.png": lambda path: save(path, pixels(9, 8, 4)),
    "palette.png": lambda path: save(path, pixels(9, 8, 3), "P"),
    "bilevel.png": lambda path: save(path, pixels(9, 8) > 99),
    "interlaced.png": lambda path: interlaced(path, pixels(13, 11)),
    "tiny interlaced.png": lambda path: interlaced(path, pixels(2, 1)),
    "three rows.png": lambda path: save(path, pixels(3, 8)),
    "grey.bmp": lambda path: save(path, pixels(9, 8)),
    "rgb.bmp": lambda path: save(path, pixels(9, 8, 3)),
    "UPPER.PNG": lambda path: save(path, pixels(9, 8)),
    "grey.tif": lambda path: save_tiff(path, pixels(9, 8)),
    "grey16.tif": lambda path: save_tiff(path, pixels(9, 8, dtype="uint16", high=60000)),
    "float.tif": lambda path: save_tiff(path, pixels(9, 8).astype("float32") / 7),
    "rgb.tif": lambda path: save_tiff(path, pixels(9, 8, 3), photometric="rgb"),
    "planar.tif": lambda path: save_tiff(path, pixels(3, 9, 8), photometric="rgb", planarconfig="separate"),
    "deflated.tif": lambda path: save(path, pixels(9, 8, 3), compression="tiff_adobe_deflate"),
    "big endian.tif": lambda path: save_tiff(path, pixels(9, 8, dtype="uint16"), byteorder=">"),
    "big.tif": lambda path: save_tiff(path, pixels(9, 8), bigtiff=True),
}


@pytest.mark.parametrize("name", GOOD)
def test_as_nnunet(tmp_path: Path, name: str) -> None:
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    file = GOOD[name](tmp_path / name)
    expected, properties = NaturalImage2DIO().read_images([str(file)])
    image = read(file)
    np.testing.assert_array_equal(image.data, expected)
    assert image.data.dtype == np.float32
    assert image.spacing == properties["spacing"]
    assert image.geometry.dimension == 2


def test_one_file_for_each_channel(tmp_path: Path) -> None:
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    files = [save(tmp_path / f"{i}.png", pixels(9, 8) // (i + 1)) for i in range(3)]
    expected, _ = NaturalImage2DIO().read_images([str(file) for file in files])
    np.testing.assert_array_equal(read(*files).data, expected)


def test_channels_of_different_sizes(tmp_path: Path) -> None:
    files = [save(tmp_path / "a.png", pixels(9, 8)), save(tmp_path / "b.png", pixels(8, 9))]
    assert refusal_code(lambda: read(*files)) is Code.CONTRACT_GEOMETRY_MISMATCH


def test_read_mask(tmp_path: Path) -> None:
    assert read_mask(save(tmp_path / "a.png", pixels(9, 8))).shape == (1, 9, 8)


def raw(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def png_with_wrong_crc(path: Path) -> Path:
    """Every byte of the picture is right but its check sum."""
    data = bytearray(save(path, pixels(30, 40)).read_bytes())
    end = data.index(b"IEND") - 4
    data[end - 1] ^= 1
    return raw(path, bytes(data))


def png_bomb(path: Path) -> Path:
    header = struct.pack(">IIBBBBB", 50000, 50000, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(999)))
    return raw(path, b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b""))


def png_of_too_few_rows(path: Path) -> Path:
    header = struct.pack(">IIBBBBB", 40, 40, 8, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(41 * 20)))
    return raw(path, b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IEND", b""))


def animated(path: Path) -> Path:
    frames = [Pillow.fromarray(pixels(9, 8) // (i + 1)) for i in range(2)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def without_strips(path: Path) -> Path:
    """Say in the header that the only strip of pixels has no bytes, as sparse files do."""
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["StripByteCounts"].overwrite(0)
    return path


def grey_with_transparency(path: Path) -> Path:
    Pillow.fromarray(pixels(9, 8)).convert("LA").save(path)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], Code]] = {
    "absent.png": (lambda path: path, Code.INPUT_MISSING),
    "empty.png": (lambda path: raw(path, b""), Code.INPUT_TRUNCATED),
    "text.png": (lambda path: raw(path, b"text" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "text.bmp": (lambda path: raw(path, b"text" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "text.tif": (lambda path: raw(path, b"text" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "bmp in.png": (
        lambda path: save(path.with_suffix(".bmp"), pixels(9, 8)).rename(path),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "photo.jpg": (lambda path: save(path, pixels(9, 8)), Code.INPUT_UNSUPPORTED_FORMAT),
    "half.png": (lambda path: cut(save(path, pixels(30, 40)), 0.5), Code.INPUT_TRUNCATED),
    "without end.png": (lambda path: cut(save(path, pixels(30, 40)), 0.99), Code.INPUT_TRUNCATED),
    "signature alone.png": (lambda path: raw(path, b"\x89PNG\r\n\x1a\n"), Code.INPUT_TRUNCATED),
    "flipped.png": (lambda path: flip_bit(save(path, pixels(30, 40)), 0.5), Code.INPUT_CORRUPT),
    "wrong crc.png": (png_with_wrong_crc, Code.INPUT_CORRUPT),
    "bomb.png": (png_bomb, Code.INPUT_TOO_LARGE),
    "few rows.png": (png_of_too_few_rows, Code.INPUT_TRUNCATED),
    "no header.png": (
        lambda path: raw(path, b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b"") + bytes(20)),
        Code.INPUT_CORRUPT,
    ),
    "unknown pixels.png": (
        lambda path: raw(
            path, b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", bytes([0, 0, 0, 4] * 2 + [7, 9, 0, 0, 0]))
        ),
        Code.INPUT_CORRUPT,
    ),
    "animated.png": (animated, Code.INPUT_UNSUPPORTED_FORMAT),
    "transparent grey.png": (grey_with_transparency, Code.INPUT_UNSUPPORTED_FORMAT),
    "half.bmp": (lambda path: cut(save(path, pixels(30, 40)), 0.5), Code.INPUT_TRUNCATED),
    "header alone.bmp": (lambda path: raw(path, b"BM\0\0"), Code.INPUT_TRUNCATED),
    "half.tif": (lambda path: cut(save_tiff(path, pixels(30, 40)), 0.5), Code.INPUT_TRUNCATED),
    "half deflated.tif": (
        lambda path: cut(save_tiff(path, pixels(90, 90), compression="zlib"), 0.5),
        Code.INPUT_TRUNCATED,
    ),
    "flipped deflated.tif": (
        lambda path: flip_bit(save_tiff(path, pixels(90, 90), compression="zlib"), 0.5),
        Code.INPUT_CORRUPT,
    ),
    "header alone.tif": (lambda path: raw(path, b"II*\0\x08\0\0\0"), Code.INPUT_TRUNCATED),
    "without strips.tif": (
        lambda path: without_strips(save_tiff(path, pixels(9, 8))),
        Code.INPUT_TRUNCATED,
    ),
    "stack.tif": (
        lambda path: save_tiff(path, pixels(5, 9, 8), photometric="minisblack"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "complex.tif": (
        lambda path: save_tiff(path, pixels(9, 8).astype("complex64")),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_is_refused_with_its_code(tmp_path: Path, name: str) -> None:
    make, code = BAD[name]
    file = make(tmp_path / name)
    assert refusal_code(lambda: read(file)) is code


def test_budget_of_pixels(tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp", "a.tif"):
        file = save(tmp_path / name, pixels(30, 40))
        assert (
            refusal_code(lambda file=file: read(file, limits=Limits(picture_pixels=1199)))
            is Code.INPUT_TOO_LARGE
        )
        read(file, limits=Limits(picture_pixels=1200))
