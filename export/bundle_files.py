"""Writing into a bundle so that it is always whole: checksums, and replacement in one step."""

from __future__ import annotations

import os
import shutil
import zipfile
from contextlib import contextmanager
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from .checkpoint import file_sha256
from .errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUMS = "SHA256SUMS"


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS over every other file, sorted, as ``sha256sum -c`` reads it."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = [f"{file_sha256(folder / name)}  {name}\n" for name in files if name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


@contextmanager
def whole_or_nothing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder beside the target that becomes the target when the block ends well.

    A target that ends in ``.zip`` becomes an archive of the folder.

    Raises:
        ExportError: the target exists and may not be overwritten, or its parent cannot be written to.
    """
    if target.exists() and not overwrite:
        raise ExportError(f"{target} exists. Pass --overwrite to replace it, or choose another name.")
    if overwrite and target.is_dir() and any(target.iterdir()) and not (target / "model.json").is_file():
        raise ExportError(f"{target} is a folder, but no bundle: it is not overwritten. Choose another name.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.parent / os.path.basename(mkdtemp(prefix=f".{target.name}-", dir=target.parent))  # noqa: PTH119
    except OSError as error:
        raise ExportError(f"Nothing can be written beside {target}: {error}.") from error
    try:
        content = scratch / "content"
        content.mkdir()
        yield content
        _put_in_place(content, target, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put_in_place(content: Path, target: Path, scratch: Path) -> None:
    if target.suffix == ".zip":
        archive = scratch / "archive.zip"
        write_zip(content, archive)
        archive.replace(target)
        return
    if target.exists():
        target.rename(scratch / "replaced")
    content.rename(target)


def write_zip(folder: Path, archive: Path) -> None:
    """Write a folder's files into an archive, sorted; images and weights are hardly compressible and are stored."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            out.write(path, path.relative_to(folder).as_posix())
