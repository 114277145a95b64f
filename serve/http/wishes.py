"""What the fields of a request ask for, whatever body they came in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from nnunet_losses.serve.approximations import OPTIONS as APPROXIMATIONS
from nnunet_losses.serve.approximations import Approximations
from nnunet_losses.serve.dicom_options import OPTIONS as DICOM
from nnunet_losses.serve.dicom_options import DicomOptions
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.outputs import OutputKind, check_kinds
from nnunet_losses.serve.policies import OPTIONS as POLICIES
from nnunet_losses.serve.policies import Policies
from nnunet_losses.serve.workers.archiving import PUSHED
from nnunet_losses.serve.workers.engine import ANSWER, MASK

from .parts import invalid
from .problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .settings import Settings

_NOT_DISPLAYED = re.compile(r"[^\w .+-]+")
DEFAULT_OUTPUTS = (MASK, ANSWER)


@dataclass(frozen=True)
class Wishes:
    """What is wanted of one case.

    Attributes:
        case: for people.
        outputs: kinds of artifacts.
        push: archive that gets the DICOM objects among them.
        options: of the predictor.
    """

    case: str
    outputs: tuple[str, ...]
    push: str | None
    options: dict[str, str]

    @classmethod
    def of(cls, fields: Mapping[str, str], settings: Settings) -> Self:
        """Read a request's fields.

        Raises:
            ServiceProblem: a field is not understood, or not allowed.
            Refusal: ``output.unknown``, ``output.not_installed``.
        """
        _check_approximations(fields, settings)
        push = fields.get("push")
        return cls(
            case=display_name(fields.get("case", "")),
            outputs=with_pushed(parse_outputs(fields.get("outputs", "")), push),
            push=push,
            options=_options(fields),
        )


def _check_approximations(fields: Mapping[str, str], settings: Settings) -> None:
    """Let nobody trade exactness for speed unless the operator allows it."""
    if settings.allow_approximations or not any(name in fields for name in APPROXIMATIONS):
        return
    raise ServiceProblem(
        ServiceCode.REQUEST_APPROXIMATION,
        "This server answers as the model was exported, without approximations.",
        remedy=f"Leave out {', '.join(APPROXIMATIONS)}; or let the operator set "
        "NNUNET_LOSSES_ALLOW_APPROXIMATIONS.",
    )


def _options(fields: Mapping[str, str]) -> dict[str, str]:
    """What the request asks of the predictor; refused before any file is kept."""
    options = {name: fields[name] for name in (*POLICIES, *DICOM, *APPROXIMATIONS) if name in fields}
    try:
        Policies().changed(options)
        DicomOptions.of(options)
        Approximations.of(options)
    except ValueError as error:
        raise invalid(f"The field is not understood: {error}.") from error
    return options


def parse_outputs(text: str) -> tuple[str, ...]:
    """Read the kinds of artifacts that a request asks for; by default mask and answer.

    Raises:
        Refusal: there is no such kind (``output.unknown``), or its library is not installed.

    Example:
        >>> parse_outputs("mask, answer"), parse_outputs("")
        (('mask', 'answer'), ('mask', 'answer'))
    """
    kinds = dict.fromkeys(kind for word in text.split(",") if (kind := word.strip().lower()))
    known = {ANSWER, *(kind.value for kind in OutputKind)}
    if not known.issuperset(kinds):
        raise Refusal(
            Code.OUTPUT_UNKNOWN,
            "The field `outputs` names a kind that is not known.",
            remedy=f"Choose some of {', '.join(sorted(known))}, with commas between.",
            expected=sorted(known),
        )
    check_kinds(kind for kind in kinds if kind != ANSWER)
    return tuple(kinds) or DEFAULT_OUTPUTS


def with_pushed(outputs: tuple[str, ...], push: str | None) -> tuple[str, ...]:
    """Add what an archive can take, a SEG, where something is to be stored and nothing of that kind is made.

    Example:
        >>> with_pushed(("mask",), "pacs"), with_pushed(("rtstruct",), "pacs"), with_pushed(("mask",), None)
        (('mask', 'seg'), ('rtstruct',), ('mask',))
    """
    if push is None or set(outputs) & set(PUSHED):
        return outputs
    check_kinds([OutputKind.SEG])
    return (*outputs, OutputKind.SEG.value)


def display_name(case: str) -> str:
    """Name a case for people: letters, digits and a few signs, at most 64. It never becomes a path.

    Example:
        >>> display_name("visit 2/../../etc"), display_name("")
        ('visit 2_.._.._etc', 'case')
    """
    return _NOT_DISPLAYED.sub("_", case).strip()[:64] or "case"
