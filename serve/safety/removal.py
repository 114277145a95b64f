"""Take labels out of a mask, and say what was taken."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import EmptyReason
from nnunet_losses.serve.measure import CUBIC_MILLIMETRES_PER_MILLILITRE, label_voxels
from nnunet_losses.serve.pipeline.postprocess import parts_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Geometry
    from nnunet_losses.serve.pipeline.postprocess import Part, Removal
    from nnunet_losses.serve.schema import Label

    from .candidates import LabelCandidates
    from .presence_decision import Decision

NOT_THE_LARGEST = "NOT_THE_LARGEST_COMPONENT"
_REASON = EmptyReason.ALL_COMPONENTS_BELOW_CONFIDENCE.value


def values_without(
    label: str, labels: Sequence[Label], held: Collection[int] | None = None
) -> dict[int, int] | None:
    """What each mask value of a label becomes when the label is taken out, and all others stay.

    A label's value becomes background. In overlapping regions, the value of a region within another becomes
    the outer one's. None where no value says that: without the whole organ, its lesion would be nowhere.

    Args:
        label: to be taken out.
        labels: of the model.
        held: values that the mask holds; None for all.

    Example:
        >>> from nnunet_losses.serve.schema import Label
        >>> whole = Label(name="whole", channel=0, value=1, members=(1, 2))
        >>> lesion = Label(name="lesion", channel=1, value=2, members=(2,))
        >>> values_without("lesion", [whole, lesion]), values_without("whole", [whole, lesion])
        ({2: 1}, None)
        >>> values_without("whole", [whole, lesion], held=[0, 1])
        {1: 0}
    """
    values = sorted({value for one in labels for value in one.members} - {0})
    belonging = {value: frozenset(one.name for one in labels if value in one.members) for value in values}
    known = {names: value for value, names in reversed(belonging.items())} | {frozenset(): 0}
    rest = {
        value: names - {label}
        for value, names in belonging.items()
        if label in names and (held is None or value in held)
    }
    if not all(names in known for names in rest.values()):
        return None
    return {value: known[names] for value, names in rest.items()}


def remove(
    mask: NDArray[Any], decisions: Mapping[str, Decision], labels: Sequence[Label]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Take out what is decided to be empty, where that may be removed; a lesion before its organ.

    Args:
        mask: integers (z, y, x); not changed.
        decisions: by label.
        labels: of the model.

    Returns:
        The mask, the same object where nothing was taken out; and the names of the labels that were.
    """
    leaving = [label for label in labels if label.name in decisions and decisions[label.name].removes]
    held = set(np.flatnonzero(np.bincount(mask.ravel())).tolist()) if leaving else set()
    removed = []
    for label in sorted(leaving, key=lambda one: len(one.members)):
        table = values_without(label.name, labels, held)
        if table:
            held = {table.get(value, value) for value in held}
            lookup = np.arange(int(max(mask.max(), *table)) + 1).astype(mask.dtype)
            lookup[list(table)] = list(table.values())
            mask = lookup[mask]
            removed.append(label.name)
    return mask, tuple(removed)


def listed(found: LabelCandidates, decision: Decision, geometry: Geometry) -> list[dict[str, Any]]:
    """Every component of a label, for ``policy.removed_components``: the largest score first."""
    rows = [
        {
            **_row(found.label, _REASON, candidate.voxels, candidate.place, geometry),
            "score": round(score, 6),
        }
        for candidate, score in zip(found.components, decision.scores, strict=True)
    ]
    return sorted(rows, key=lambda row: -row["score"])


def listed_step(removal: Removal, labels: Sequence[Label], geometry: Geometry) -> list[dict[str, Any]]:
    """Every component that a step of postprocessing removed, the largest first, by the labels in it."""
    return [
        {
            **_part_row(_names(part, labels), NOT_THE_LARGEST, part, geometry),
            "values": removal.step.values,
        }
        for part in removal.parts
    ]


def listed_label(mask: NDArray[Any], label: Label, reason: str, geometry: Geometry) -> list[dict[str, Any]]:
    """Every component of a label in a mask that is withheld, the largest first."""
    parts = parts_of(mask, label_voxels(mask, label.members))
    return [_part_row(label.name, reason, part, geometry) for part in parts]


def _names(part: Part, labels: Sequence[Label]) -> str:
    return ", ".join(label.name for label in labels if set(label.members) & set(part.values))


def _part_row(label: str, reason: str, part: Part, geometry: Geometry) -> dict[str, Any]:
    row = _row(label, reason, part.voxels, part.place, geometry)
    return row if part.components == 1 else row | {"components": part.components}


def _row(
    label: str, reason: str, voxels: int, place: tuple[float, float, float], geometry: Geometry
) -> dict[str, Any]:
    is_picture = geometry.dimension == 2
    volume = voxels * prod(geometry.spacing) / CUBIC_MILLIMETRES_PER_MILLILITRE
    return {
        "label": label,
        "reason": reason,
        "voxels": voxels,
        "volume_ml": None if is_picture else volume,
        "place": place,
        "place_mm": None if is_picture else _place_mm(place, geometry),
    }


def _place_mm(place: tuple[float, float, float], geometry: Geometry) -> tuple[float, float, float]:
    """Patient's coordinates (x, y, z; LPS) of a voxel (z, y, x)."""
    direction = np.array(geometry.direction, np.float64).reshape(3, 3)
    offset = direction @ (np.array(place[::-1]) * geometry.spacing)
    x, y, z = (np.array(geometry.origin) + offset).round(2).tolist()
    return x, y, z
