"""Changing a bundle in one step, so that there is never half of one."""

from __future__ import annotations

import os
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from .bundle import Bundle, write_sums

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def changed_bundle(target: Path, bundle: Bundle) -> Iterator[Path]:
    """Give a copy of a bundle's folder that takes its place when the block ends well.

    Files share their contents with the original: write new ones with ``write_new``. The list of hashes is
    made anew, and the result is loaded, before anything is replaced.

    Args:
        target: the bundle: a folder, or a zip file.
        bundle: loaded from there.

    Raises:
        OSError: nothing can be written beside the bundle.
        Refusal: the changed bundle cannot be loaded.
    """
    scratch = Path(mkdtemp(prefix=f".{target.name}-", dir=target.resolve().parent))
    try:
        content = scratch / "content"
        shutil.copytree(bundle.root, content, copy_function=link_or_copy)
        yield content
        write_new(content / "SHA256SUMS", b"")
        write_sums(content)
        Bundle.load(content)
        put_in_place(content, target, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that shares nothing with the one of that name before."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def put_in_place(content: Path, target: Path, scratch: Path) -> None:
    """Replace a bundle by a folder's content; a zip file by an archive of it.

    Args:
        content: folder.
        target: the bundle.
        scratch: folder on the same file system, for what is replaced.
    """
    if target.is_file() or target.suffix == ".zip":
        write_zip(content, scratch / "archive.zip")
        (scratch / "archive.zip").replace(target)
        return
    replaced = scratch / "replaced"
    try:
        if target.exists():
            target.rename(replaced)
        content.rename(target)
    except BaseException:  # Ctrl-C between the two would leave none, as the scratch folder is removed
        if replaced.exists() and not target.exists():
            replaced.rename(target)
        raise


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name, or a copy where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def write_zip(folder: Path, archive: Path) -> None:
    """Write a folder's files into an archive, sorted."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            out.write(path, path.relative_to(folder).as_posix())
