"""Where a series' files lie: in a folder, in a zip file, or alone. One of them is in memory at a time."""

from __future__ import annotations

import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError  # noqa: N812 - an exception class

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.integrity import check_exists, read_chunks
from nnunet_losses.serve.formats.layout import REMEDY_EXPORT, corrupt, truncated, unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from zipfile import ZipInfo

    from nnunet_losses.serve.formats.integrity import Hash
    from nnunet_losses.serve.formats.limits import Limits

MOST_FILES = 20_000
LARGEST_RATIO = 1000  # of unpacked to packed bytes; DICOM images reach 10, constant ones some hundreds
_RATIO_MATTERS_FROM = 1 << 20
_CHUNK = 1 << 20
ZIP_MAGIC = b"PK"
ZIP_START = b"PK\x03\x04"  # of the first entry
MAGIC_AT, MAGIC = 128, b"DICM"
ARCHIVE_ENDINGS = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
REMEDY_ZIP = "Zip the folder of the one series again, with nothing else in it."


class Files(Protocol):
    """Files by number."""

    @property
    def names(self) -> Sequence[str]:
        """Names, for telling files from DICOM's index of them; never shown."""

    def read(self, index: int) -> bytes:
        """Read one file, whole."""


@dataclass(frozen=True)
class FolderFiles:
    """Files of a folder and the folders in it, or one file."""

    paths: tuple[Path, ...]

    @property
    def names(self) -> Sequence[str]:
        """File names."""
        return [path.name for path in self.paths]

    def read(self, index: int) -> bytes:
        """Read one file."""
        return b"".join(read_chunks(self.paths[index]))


@dataclass(frozen=True)
class ZipFiles:
    """Files of a zip file, whose names are checked, although nothing is written under them."""

    name: str
    archive: ZipFile
    entries: tuple[ZipInfo, ...]

    @property
    def names(self) -> Sequence[str]:
        """Names of the entries without their folders."""
        return [PurePosixPath(entry.filename).name for entry in self.entries]

    def read(self, index: int) -> bytes:
        """Read one entry; whatever the zip file says, no more than it announced comes out."""
        entry = self.entries[index]
        try:
            with self.archive.open(entry) as file:
                content = bytearray()
                while chunk := file.read(_CHUNK):
                    content += chunk
                    if len(content) > entry.file_size:
                        raise _damaged(self.name, "an entry unpacks to more than it says")
        except (BadZipFile, ZlibError, EOFError, NotImplementedError, OSError, ValueError) as error:
            raise _damaged(self.name, "a check sum or its compression is wrong") from error
        if len(content) < entry.file_size:
            raise truncated(self.name, len(content), entry.file_size)
        return bytes(content)


@contextmanager
def opened(path: Path, *, limits: Limits, digest: Hash) -> Iterator[Files]:
    """Open a folder, a zip file or a file, and check what can be checked without reading the files.

    Raises:
        Refusal: ``input.*``, among them ``input.unsafe_archive``.
    """
    if path.is_dir():
        yield _folder(path, limits, digest)
        return
    check_exists(path, limits)
    for chunk in read_chunks(path):
        digest.update(chunk)
    if next(read_chunks(path))[:2] != ZIP_MAGIC:
        _check_alone(path)
        yield FolderFiles((path,))
        return
    try:
        archive = ZipFile(path)
    except (BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise _damaged(path.name, "its list of files cannot be read") from error
    with archive:
        yield ZipFiles(path.name, archive, _entries(path.name, archive, limits))


def is_dicom(head: bytes) -> bool:
    """Whether a file begins as DICOM files do.

    Example:
        >>> is_dicom(bytes(128) + b"DICM"), is_dicom(b"DICM")
        (True, False)
    """
    return head[MAGIC_AT : MAGIC_AT + 4] == MAGIC


def _check_alone(path: Path) -> None:
    if path.name.lower().endswith(".zip"):
        raise unsupported(
            path.name,
            "is not a zip file, although its name says so.",
            remedy="Send the zip file itself.",
            expected=ZIP_MAGIC.decode(),
        )


def _folder(path: Path, limits: Limits, digest: Hash) -> FolderFiles:
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    _check_count(path.name, len(files))
    limits.check_decoded(path.name, sum(file.stat().st_size for file in files))
    for file in files:
        for chunk in read_chunks(file):
            digest.update(chunk)
    return FolderFiles(tuple(files))


def _entries(name: str, archive: ZipFile, limits: Limits) -> tuple[ZipInfo, ...]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    _check_count(name, len(entries))
    seen: set[str] = set()
    for entry in entries:
        _check_entry(name, entry)
        if entry.filename in seen:
            raise _unsafe(name, "holds two files of one name")
        seen.add(entry.filename)
    limits.check_decoded(name, sum(entry.file_size for entry in entries))
    packed = sum(entry.compress_size for entry in entries)
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _RATIO_MATTERS_FROM and unpacked > LARGEST_RATIO * packed:
        raise _unsafe(name, f"unpacks to {unpacked // max(packed, 1)} times its size")
    return tuple(entry for entry in entries if not PurePosixPath(entry.filename).name.startswith("."))


def _check_count(name: str, count: int) -> None:
    if count > MOST_FILES:
        raise Refusal(
            Code.INPUT_TOO_LARGE,
            f"{name} holds {count:,} files; at most {MOST_FILES:,} are accepted.",
            remedy="Send one series.",
            observed=count,
            expected={"files_at_most": MOST_FILES},
        )


def _check_entry(name: str, entry: ZipInfo) -> None:
    path, raw = PurePosixPath(entry.filename), entry.orig_filename
    if path.is_absolute() or ".." in path.parts or "\\" in raw or ":" in raw or "\0" in raw:
        raise _unsafe(name, "holds a name that leads outside")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise _unsafe(name, "holds a link or a device")
    if entry.flag_bits & 1:
        raise _unsafe(name, "holds an encrypted file")
    file = path.name.lower()
    if file.endswith(ARCHIVE_ENDINGS) and not file.endswith(".nii.gz"):
        raise _unsafe(name, "holds another archive")


def _unsafe(name: str, what: str) -> Refusal:
    return Refusal(Code.INPUT_UNSAFE_ARCHIVE, f"{name} {what}.", remedy=REMEDY_ZIP)


def _damaged(name: str, what: str) -> Refusal:
    refusal = corrupt(name, f"{what}.")
    refusal.remedy = REMEDY_EXPORT
    return refusal
