"""The nearest valid name of one that is nearly right."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from .names import PREFIX, format_name, read_segments, trainer_specs
from .spelling import squash
from .variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nnunet_losses.spec import LossSpec

# nnU-Net's own loss trainers begin like ours and are meant as they stand.
_NNUNETS_OWN = re.compile(
    PREFIX + r"(DiceLoss|DiceCELoss_noSmooth|CELoss|CELoss_5epochs|(Dice)?Top[kK]10Loss(LS01)?)"
)


def resembles_ours(name: str) -> bool:
    """Whether a name begins like one of ours and is none of nnU-Net's own.

    Example:
        >>> resembles_ours("nnUNetTrainerDice_0.5"), resembles_ours("nnUNetTrainerDiceLoss")
        (True, False)
    """
    if _NNUNETS_OWN.fullmatch(name) or not name.startswith(PREFIX):
        return False
    return _closest_loss(_split(name)[0]) is not None


def nearest_name(name: str) -> str | None:
    """Return the valid name that a wrong one most probably means; None if it is nothing like ours.

    Example:
        >>> nearest_name("nnUNetTrainerTverksy_FN0.8_nomirroring_250epoch")
        'nnUNetTrainerTversky_fn0p8_NoMirroring_250epochs'
    """
    if not resembles_ours(name):
        return None
    head, segments = _split(name)
    spec = _closest_loss(head)
    if spec is None:
        return None
    configuration, _ = read_segments(spec, list(_repair(_joined(segments, spec), spec)))
    return format_name(configuration)


def _split(name: str) -> tuple[str, list[str]]:
    text = name.removeprefix(PREFIX).lstrip("_").replace(".", "p").replace("-", "m")
    head, *segments = text.split("_")
    return head, [segment for segment in segments if segment]


def _closest_loss(head: str) -> LossSpec | None:
    specs = trainer_specs()
    beginnings = [trainer for trainer in specs if head.startswith(trainer)]
    by_case = {trainer.lower(): trainer for trainer in specs}
    close = difflib.get_close_matches(head.lower(), by_case, n=1, cutoff=0.8)
    if head in specs or (beginnings and not close):
        return specs[max(beginnings, key=len)]
    return specs[by_case[close[0]]] if close else None


def _joined(segments: list[str], spec: LossSpec) -> Iterator[str]:
    """Join ``w_dice0p8``, a parameter written with its underscores."""
    beginnings = tuple(field.name.rpartition("_")[0] for field in spec.trainer_fields if "_" in field.name)
    pending = ""
    for segment in segments:
        pending += segment
        if pending not in map(squash, beginnings):
            yield pending
            pending = ""
    if pending:
        yield pending


def _repair(segments: Iterable[str], spec: LossSpec) -> Iterator[str]:
    parameters: list[str] = []
    variant, epochs = "", ""
    by_case = {name.lower(): name for name in VARIANTS}
    for segment in segments:
        match = re.fullmatch(r"0*([1-9][0-9]{0,8})(?:e|ep|epoch|epochs)", segment, re.IGNORECASE)
        close = difflib.get_close_matches(segment.lower(), by_case, n=1, cutoff=0.8)
        if match:
            epochs = f"{match[1]}epochs"
        elif close and not re.fullmatch(r"[a-z]+m?[0-9].*", segment):
            variant = by_case[close[0]]
        else:
            parameters.append(_repair_parameter(segment, spec))
    yield from (part for part in (*parameters, variant, epochs) if part)


def _repair_parameter(segment: str, spec: LossSpec) -> str:
    """Correct the letters before the value, and nothing else."""
    match = re.fullmatch(r"([A-Za-z]+?)(m?[0-9].*|true|false|True|False)", segment)
    if match is None:
        return segment
    names = [squash(field.name) for field in spec.trainer_fields if field.nameable]
    close = difflib.get_close_matches(match[1].lower(), names, n=1, cutoff=0.6)
    return f"{close[0]}{match[2].lower()}" if close else segment
