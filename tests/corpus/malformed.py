"""All malformed files: how each is made, and the code with which it must be refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_losses.serve.errors import Code

from ..serve.formats.test_malformed import CORPUS as VOLUMES
from .archives import ARCHIVES
from .pictures import PICTURES
from .series import SERIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[[Path], Path]

NOT_TO_BE_SENT = {Code.INPUT_MISSING, Code.INPUT_UNREADABLE}  # what is no file cannot be uploaded


@dataclass(frozen=True)
class Malformed:
    """One malformed file."""

    make: Make
    code: Code
    is_picture: bool = False

    @property
    def can_be_sent(self) -> bool:
        return self.code not in NOT_TO_BE_SENT


CORPUS: dict[str, Malformed] = {
    **{f"volume: {name}": Malformed(*entry) for name, entry in VOLUMES.items()},
    **{f"series: {name}": Malformed(*entry) for name, entry in SERIES.items()},
    **{f"archive: {name}": Malformed(*entry) for name, entry in ARCHIVES.items()},
    **{f"picture: {name}": Malformed(*entry, is_picture=True) for name, entry in PICTURES.items()},
}
