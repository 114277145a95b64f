"""What the caller wants to happen with strange images and with empty masks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIONS = ("ood", "empty", "uncertainty")  # names of a request's fields
# Among what was applied to an answer: the mask was emptied, and nothing else may show it either.
OOD_SUPPRESSED = "ood.suppressed"
_SWITCH = {"true": True, "false": False, "1": True, "0": False}


class OodPolicy(StrEnum):
    """What becomes of an image that is called out of distribution.

    ``return``: the verdict is stated, and that is all. ``flag``: and a warning says so. ``suppress``: the
    mask is emptied, which is no finding but no decision. ``reject``: there is no mask, but a problem.
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


class EmptySeg(StrEnum):
    """What becomes of a DICOM SEG or RTSTRUCT in which nothing is marked.

    ``emit``: a valid object that says so, for it is an answer. ``omit``: there is none.
    """

    EMIT = "emit"
    OMIT = "omit"


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

    def changed(self, options: Mapping[str, str]) -> Self:
        """Return the same with what a request asks for; other options are left alone.

        Args:
            options: by name, see ``OPTIONS``.

        Raises:
            ValueError: for a value that is none of the choices, naming option and choices.

        Example:
            >>> Policies().changed({"ood": "reject", "uncertainty": "true"}).uncertainty
            True
        """
        changes: dict[str, OodPolicy | EmptyPolicy | bool] = {}
        if "ood" in options:
            changes["ood"] = OodPolicy(_chosen("ood", options["ood"], [*OodPolicy]))
        if "empty" in options:
            changes["empty"] = EmptyPolicy(_chosen("empty", options["empty"], [*EmptyPolicy]))
        if "uncertainty" in options:
            changes["uncertainty"] = _SWITCH[_chosen("uncertainty", options["uncertainty"], [*_SWITCH])]
        return replace(self, **changes)  # type: ignore[arg-type]  # every name has its own type


def _chosen(name: str, value: str, choices: list[str]) -> str:
    if value not in choices:
        raise ValueError(f"the option {name} is {value!r}; expected one of {', '.join(choices)}")
    return value
