"""What a request may say of DICOM, in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .formats.turning import is_orientation
from .policies import EmptySeg

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIONS = ("empty_seg", "orientation")  # names of a request's fields


@dataclass(frozen=True)
class DicomOptions:
    """What was asked for, of one case.

    Attributes:
        empty_seg: see ``EmptySeg``.
        orientation: to which series are turned, as the model's training images lay (``RAS``); None leaves
            that to the bundle.
    """

    empty_seg: EmptySeg = EmptySeg.EMIT
    orientation: str | None = None

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self:
        """Read what a request asks for; other options are left alone.

        Args:
            options: by name, see ``OPTIONS``.

        Raises:
            ValueError: for a value that cannot be used, naming option and choices.

        Example:
            >>> DicomOptions.of({"empty_seg": "omit", "orientation": "ras"}).orientation
            'RAS'
        """
        empty_seg = options.get("empty_seg", EmptySeg.EMIT.value)
        if empty_seg not in {*EmptySeg}:
            choices = ", ".join(EmptySeg)
            raise ValueError(f"the option empty_seg is {empty_seg[:20]!r}; expected one of {choices}")
        orientation = options.get("orientation", "").upper() or None
        if orientation is not None and not is_orientation(orientation):
            raise ValueError(f"the option orientation is {orientation[:20]!r}; expected three letters as RAS")
        return cls(EmptySeg(empty_seg), orientation)
