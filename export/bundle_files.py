"""Replacing a bundle in one step, so that there is never half of one."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import DESCRIPTION
from nnunet_losses.serve.bundle_writing import put_in_place

from .errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def whole_or_nothing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give an empty folder beside the target that becomes the target when the block ends well.

    A target that ends in ``.zip`` becomes an archive of the folder.

    Raises:
        ExportError: the target exists and may not be overwritten, or its parent cannot be written to.
    """
    _require_free(target, overwrite=overwrite)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ExportError(
            f"Nothing can be written beside {target}: {error}. Choose another place."
        ) from error
    try:
        content = scratch / "content"
        content.mkdir()
        yield content
        put_in_place(content, target, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _require_free(target: Path, *, overwrite: bool) -> None:
    if not target.exists():
        return
    is_bundle = target.is_file() if target.suffix == ".zip" else (target / DESCRIPTION).is_file()
    if not is_bundle and not (target.is_dir() and not any(target.iterdir())):
        is_model = (target / "plans.json").is_file()
        remedy = "Name the bundle behind the model folders." if is_model else "Choose another name."
        raise ExportError(f"{target} exists and is no bundle: it is not overwritten. {remedy}")
    if not overwrite:
        raise ExportError(f"{target} exists. Pass --overwrite to replace it, or choose another name.")
