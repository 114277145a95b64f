"""Zip files that are no series, or that want more than to be read."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.errors import Code

from ..serve.dicom.series import phantom, write_series, zipped
from ..serve.formats.files import cut, noise, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[[Path], Path]

SLICE = b"\0" * 128 + b"DICM" + b"\0" * 64


def named(*names: str) -> Make:
    """A zip file with entries of these names."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            for name in names:
                archive.writestr(_entry(name), SLICE)
        return folder / "a.zip"

    return make


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("x")
    entry.filename = name  # as it is, without the library's repairs
    return entry


def link(folder: Path) -> Path:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return folder / "a.zip"


def encrypted(folder: Path) -> Path:
    file = named("a.dcm")(folder)
    data = bytearray(file.read_bytes())
    data[6] |= 1  # the local header's flags
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    file.write_bytes(data)
    return file


def twice(folder: Path) -> Path:
    file = named("a.dcm", "b.dcm")(folder)
    file.write_bytes(file.read_bytes().replace(b"b.dcm", b"a.dcm"))
    return file


def crowd(folder: Path) -> Path:
    return named(*(f"{number}" for number in range(20_001)))(folder)


def ratio_bomb(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a.dcm", bytes(40 << 20))
    return folder / "a.zip"


def announced_bomb(folder: Path) -> Path:
    """Entries that say they unpack to 4 GiB each."""
    file = named("a.dcm", "b.dcm", "c.dcm", "d.dcm", "e.dcm")(folder)
    data = bytearray(file.read_bytes())
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        struct.pack_into("<I", data, at + 24, 0xFFFFFFF0)
    file.write_bytes(data)
    return file


def liar(folder: Path) -> Path:
    """An entry that unpacks to more than it says."""
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", np.random.default_rng(0).bytes(5000))
    data = bytearray((folder / "a.zip").read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 100)
    struct.pack_into("<I", data, 22, 100)
    (folder / "a.zip").write_bytes(data)
    return folder / "a.zip"


def whole(folder: Path) -> Path:
    series = write_series(folder / "series", phantom((7, 8, 9)).datasets())
    return zipped(series, folder / "a.zip")


def wrong_crc(folder: Path) -> Path:
    file = whole(folder)
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 16] ^= 1
    file.write_bytes(data)
    return file


def flipped(folder: Path) -> Path:
    file = whole(folder)
    data = bytearray(file.read_bytes())
    data[200] ^= 0x10
    file.write_bytes(data)
    return file


def content(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def zip_of(name: str, data: Callable[[Path], bytes]) -> Make:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr(name, data(folder))
        return folder / "a.zip"

    return make


def inner() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.dcm", SLICE)
    return buffer.getvalue()


ARCHIVES: dict[str, tuple[Make, Code]] = {
    "a way up": (named("../a.dcm"), Code.INPUT_UNSAFE_ARCHIVE),
    "a way up in the middle": (named("a/../../b.dcm"), Code.INPUT_UNSAFE_ARCHIVE),
    "an absolute name": (named("/etc/cron.d/a"), Code.INPUT_UNSAFE_ARCHIVE),
    "a drive": (named("C:/a.dcm"), Code.INPUT_UNSAFE_ARCHIVE),
    "backslashes": (named("..\\a.dcm"), Code.INPUT_UNSAFE_ARCHIVE),
    "a link": (link, Code.INPUT_UNSAFE_ARCHIVE),
    "a zip file in it": (zip_of("b.zip", lambda _: inner()), Code.INPUT_UNSAFE_ARCHIVE),
    "a tar file in it": (named("b.tar"), Code.INPUT_UNSAFE_ARCHIVE),
    "an encrypted file": (encrypted, Code.INPUT_UNSAFE_ARCHIVE),
    "a name twice": (twice, Code.INPUT_UNSAFE_ARCHIVE),
    "20,001 files": (crowd, Code.INPUT_TOO_LARGE),
    "zeros packed a thousandfold": (ratio_bomb, Code.INPUT_UNSAFE_ARCHIVE),
    "20 GiB announced": (announced_bomb, Code.INPUT_TOO_LARGE),
    "more than is announced": (liar, Code.INPUT_CORRUPT),
    "a wrong check sum": (wrong_crc, Code.INPUT_CORRUPT),
    "a bit flip": (flipped, Code.INPUT_CORRUPT),
    "cut in the middle": (lambda folder: cut(whole(folder), 0.5), Code.INPUT_CORRUPT),
    "its last byte missing": (lambda folder: cut(whole(folder), 0.9999), Code.INPUT_CORRUPT),
    "empty": (content("a.zip", b""), Code.INPUT_TRUNCATED),
    "no files": (named(), Code.SERIES_NO_IMAGES),
    "only a text": (zip_of("readme.txt", lambda _: b"text"), Code.SERIES_NO_IMAGES),
    "a NIfTI file in it": (
        zip_of("a.nii.gz", lambda folder: write(folder / "a.nii.gz", noise()).read_bytes()),
        Code.SERIES_NO_IMAGES,
    ),
    "text named zip": (content("a.zip", b"text" * 99), Code.INPUT_UNSUPPORTED_FORMAT),
    "zip named nii.gz": (
        lambda folder: whole(folder).rename(folder / "b.nii.gz"),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
    "zip named mha": (lambda folder: whole(folder).rename(folder / "b.mha"), Code.INPUT_UNSUPPORTED_FORMAT),
    "a picture with a zip file behind it": (
        lambda folder: content("b.zip", b"\x89PNG\r\n\x1a\n" + whole(folder).read_bytes())(folder),
        Code.INPUT_UNSUPPORTED_FORMAT,
    ),
}  # fmt: skip
