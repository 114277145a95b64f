"""What the caller wants to happen with strange images and with empty masks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OodPolicy(StrEnum):
    """What becomes of an image that is called out of distribution.

    ``return``: the verdict is stated, and that is all. ``flag``: and a warning says so. ``suppress``: the mask
    is emptied, which is no finding but no decision. ``reject``: there is no mask, but a problem.
    """

    RETURN = "return"
    FLAG = "flag"
    SUPPRESS = "suppress"
    REJECT = "reject"


class EmptyPolicy(StrEnum):
    """What becomes of an answer in which nothing was found.

    ``return``: reason and meaning are stated, and that is all. ``flag``: and a warning says so. ``raw``: and
    the mask is also given as it was before anything was removed from it. ``reject``: there is no mask, but a
    problem.
    """

    RETURN = "return"
    FLAG = "flag"
    RAW = "raw"
    REJECT = "reject"


@dataclass(frozen=True)
class Policies:
    """What was asked for, of one case or by default.

    Attributes:
        ood: see ``OodPolicy``.
        empty: see ``EmptyPolicy``.
        uncertainty: whether a map of the uncertainty is wanted.

    Example:
        >>> Policies(ood=OodPolicy("reject")).ood.value, Policies().empty.value
        ('reject', 'flag')
    """

    ood: OodPolicy = OodPolicy.FLAG
    empty: EmptyPolicy = EmptyPolicy.FLAG
    uncertainty: bool = False
