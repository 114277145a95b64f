"""What the files of a case hold, whatever they are called and wherever they lie."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import file_sha256

if TYPE_CHECKING:
    from pathlib import Path


def contents_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder (a DICOM series), of the names and contents of all files in it.

    Raises:
        OSError: it cannot be read.
    """
    if not path.is_dir():
        return file_sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {file_sha256(file)}" for file in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
