"""Where jobs lie on this machine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import Settings


def default_data_folder(port: int) -> Path | None:
    """Choose a folder that outlives the server: each port has its own, so that servers do not mix their jobs.

    A server on any free port has none: it would not find its jobs again.

    Example:
        >>> default_data_folder(8000).parts[-2:], default_data_folder(0)
        (('nnunet-losses', 'port-8000'), None)
    """
    if port == 0:
        return None
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "nnunet-losses" / f"port-{port}"


@contextmanager
def data_folder(settings: Settings) -> Iterator[Path]:
    """Give the operator's folder, or a temporary one that goes with the server, and all jobs with it."""
    if settings.data_folder is not None:
        yield settings.data_folder
        return
    with TemporaryDirectory(prefix="nnunet-losses-", dir=settings.temporary_folder) as folder:
        yield Path(folder)
