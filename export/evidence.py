"""What a reduced precision does to masks, counted label by label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.schema import LabelEvidence, Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import Label

DROP_ALLOWED = 0.001  # of a label's mean Dice
# Mean Dice against the float32 mask. Measured on a trained network: bfloat16 0.9995, int8 0.990 to 0.996.
# Chance moves Dice against reference labels by more than 0.001 either way, so it alone would prove little.
AGREEMENT_REQUIRED = {Precision.BFLOAT16: 0.998, Precision.FLOAT16: 0.998, Precision.INT8: 0.99}


def dice(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    """Dice of two masks; 1 where both are empty.

    Example:
        >>> dice(np.array([True, True, False]), np.array([True, False, False]))
        0.6666666666666666
    """
    total = int(one.sum()) + int(two.sum())
    return 2 * int((one & two).sum()) / total if total else 1.0


@dataclass(frozen=True)
class Row:
    """One label in one case."""

    case: str
    agreement: float
    dice_float32: float | None
    dice: float | None

    @property
    def drop(self) -> float:
        """Loss of Dice: against the reference where there is one, else against the float32 mask."""
        if self.dice_float32 is None or self.dice is None:
            return 1 - self.agreement
        return self.dice_float32 - self.dice


@dataclass
class Comparison:
    """Masks of a reduced precision against those of float32, case after case."""

    labels: Sequence[Label]
    cases: int = 0
    voxels: int = 0
    differing_voxels: int = 0
    rows: dict[str, list[Row]] = field(default_factory=dict)

    def add(
        self,
        case: str,
        float32: NDArray[np.int64],
        reduced: NDArray[np.int64],
        truth: NDArray[np.int64] | None,
    ) -> None:
        """Count one case.

        Args:
            case: its name.
            float32: mask (z, y, x).
            reduced: mask of the reduced precision.
            truth: reference labels, or None.

        Raises:
            ValueError: the masks differ in shape.
        """
        shapes = {mask.shape for mask in (float32, reduced, truth) if mask is not None}
        if len(shapes) > 1:
            raise ValueError(f"the masks of case {case} have the shapes {sorted(shapes)}; expected one shape")
        self.cases += 1
        self.voxels += float32.size
        self.differing_voxels += int((float32 != reduced).sum())
        for label in self.labels:
            row = _row(case, label, float32, reduced, truth)
            if row is not None:
                self.rows.setdefault(label.name, []).append(row)

    def evidence(self) -> tuple[LabelEvidence, ...]:
        """Sum up every label."""
        return tuple(_summed(label.name, self.rows.get(label.name, [])) for label in self.labels)


def failures(labels: Sequence[LabelEvidence], agreement_required: float) -> tuple[str, ...]:
    """Why a reduced precision may not be used; nothing where it may.

    Example:
        >>> failures([LabelEvidence(label="liver", cases=0, agreement=None, least_agreement=None)], 0.998)
        ('liver is in none of the images, so nothing is known about it',)
    """
    found = []
    for label in labels:
        if label.drop is None or label.agreement is None:
            found.append(f"{label.label} is in none of the images, so nothing is known about it")
            continue
        if not label.drop <= DROP_ALLOWED:
            found.append(f"{label.label} loses {label.drop:.4f} Dice, more than {DROP_ALLOWED:g}")
        if not label.agreement >= agreement_required:
            found.append(
                f"{label.label} has Dice {label.agreement:.4f} against the float32 mask, less than "
                f"{agreement_required:g}"
            )
    return tuple(found)


def _row(
    case: str,
    label: Label,
    float32: NDArray[np.int64],
    reduced: NDArray[np.int64],
    truth: NDArray[np.int64] | None,
) -> Row | None:
    """Compare one label; None where no mask has it."""
    one, two = np.isin(float32, label.members), np.isin(reduced, label.members)
    reference = None if truth is None else np.isin(truth, label.members)
    if not (one.any() or two.any() or (reference is not None and reference.any())):
        return None
    if reference is None:
        return Row(case, dice(one, two), None, None)
    return Row(case, dice(one, two), dice(one, reference), dice(two, reference))


def _summed(label: str, rows: Sequence[Row]) -> LabelEvidence:
    if not rows:
        return LabelEvidence(label=label, cases=0, agreement=None, least_agreement=None)
    worst = max(rows, key=lambda row: row.drop)
    return LabelEvidence(
        label=label,
        cases=len(rows),
        agreement=float(np.mean([row.agreement for row in rows])),
        least_agreement=min(row.agreement for row in rows),
        dice_float32=_mean([row.dice_float32 for row in rows]),
        dice=_mean([row.dice for row in rows]),
        drop=float(np.mean([row.drop for row in rows])),
        largest_drop=worst.drop,
        worst_case=worst.case,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
