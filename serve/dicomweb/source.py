"""What is named in an archive: series of one study, by their UIDs."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, StringConstraints

from nnunet_losses.serve.schema import Frozen

LONGEST_UID = 64  # PS3.5, 9.1
_UID = r"[0-9]+(\.[0-9]+)+"


def is_uid(text: str) -> bool:
    """Whether a text has the form of a UID; leading zeros, which the standard forbids, are borne.

    Example:
        >>> is_uid("1.2.840.10008"), is_uid("1..2"), is_uid("../1"), is_uid("1." * 32 + "10")
        (True, False, False, False)
    """
    return len(text) <= LONGEST_UID and re.fullmatch(_UID, text) is not None


Uid = Annotated[str, StringConstraints(pattern=rf"^{_UID}$", max_length=LONGEST_UID)]


class Source(Frozen):
    """Series that are the channels of one case.

    Attributes:
        archive: the operator's name for it.
        study: StudyInstanceUID.
        series: SeriesInstanceUID of each channel, in their order.

    Example:
        >>> Source(archive="pacs", study="1.2.3", series=("1.2.4",)).series
        ('1.2.4',)
    """

    archive: str
    study: Uid
    series: tuple[Uid, ...] = Field(min_length=1)
