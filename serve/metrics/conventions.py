"""What a metric is worth where a mask is empty: one table of named conventions.

A metric is a formula only where both masks hold something. Elsewhere it is a convention, and published
figures differ by it. NaN means: the case does not count for this mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, nan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Metric(StrEnum):
    """Metrics of one case and label that need a convention for empty masks."""

    DICE = "dice"
    IOU = "iou"
    NSD = "nsd"
    HD95 = "hd95"
    LESION_F1 = "lesion_f1"
    LESION_SENSITIVITY = "lesion_sensitivity"
    LESION_PRECISION = "lesion_precision"
    PANOPTIC_QUALITY = "pq"
    SEGMENTATION_QUALITY = "sq"


class Emptiness(StrEnum):
    """Which of the two masks holds anything."""

    NEITHER_EMPTY = "neither_empty"
    BOTH_EMPTY = "both_empty"
    REFERENCE_EMPTY = "reference_empty"
    PREDICTION_EMPTY = "prediction_empty"

    @staticmethod
    def of(predicted: int, referenced: int) -> Emptiness:
        """Tell by the numbers of voxels.

        Example:
            >>> Emptiness.of(predicted=3, referenced=0).value
            'reference_empty'
        """
        if predicted and referenced:
            return Emptiness.NEITHER_EMPTY
        if predicted:
            return Emptiness.REFERENCE_EMPTY
        return Emptiness.PREDICTION_EMPTY if referenced else Emptiness.BOTH_EMPTY


@dataclass(frozen=True)
class Rule:
    """Values of one metric.

    Attributes:
        both_empty: where neither mask holds anything.
        reference_empty: where only the prediction does.
        prediction_empty: where only the reference does.
        undefined: where both do, but the formula is 0 / 0 (segmentation quality without any pair).
        stated: whether the convention's source says so; else the rule extends it.
    """

    both_empty: float
    reference_empty: float
    prediction_empty: float
    undefined: float = nan
    stated: bool = False

    def value(self, emptiness: Emptiness, computed: float) -> float:
        """Value of the metric, by which masks are empty and what the formula gave.

        Example:
            >>> rule = Rule(1, 0, 0)
            >>> rule.value(Emptiness.BOTH_EMPTY, nan), rule.value(Emptiness.NEITHER_EMPTY, 0.7)
            (1, 0.7)
        """
        if emptiness is Emptiness.NEITHER_EMPTY:
            return self.undefined if computed != computed else computed  # noqa: PLR0124 - NaN alone differs
        by_emptiness: dict[Emptiness, float] = {
            Emptiness.BOTH_EMPTY: self.both_empty,
            Emptiness.REFERENCE_EMPTY: self.reference_empty,
            Emptiness.PREDICTION_EMPTY: self.prediction_empty,
        }
        return by_emptiness[emptiness]


@dataclass(frozen=True)
class Convention:
    """A named set of rules, one for each metric."""

    name: str
    summary: str
    source: str
    rules: Mapping[Metric, Rule]


# What the formulas themselves give: 0 / 0 is NaN. Every convention starts from here.
_FORMULAS: Mapping[Metric, Rule] = {
    Metric.DICE: Rule(nan, 0, 0),
    Metric.IOU: Rule(nan, 0, 0),
    Metric.NSD: Rule(nan, 0, 0),
    Metric.HD95: Rule(nan, nan, nan),
    Metric.LESION_F1: Rule(nan, 0, 0),
    Metric.LESION_SENSITIVITY: Rule(nan, nan, 0),
    Metric.LESION_PRECISION: Rule(nan, 0, nan),
    Metric.PANOPTIC_QUALITY: Rule(nan, 0, 0),
    Metric.SEGMENTATION_QUALITY: Rule(nan, nan, nan),
}
_AGREEMENT = (Metric.DICE, Metric.IOU, Metric.NSD, Metric.LESION_F1, Metric.PANOPTIC_QUALITY)


def _rules(
    agreement: Rule, *, unstated: Mapping[Metric, Rule] | None = None, **stated: Rule
) -> Mapping[Metric, Rule]:
    """Take the formulas, one rule for all measures of agreement, and what the source states, by value."""
    told = {Metric(name): replace(rule, stated=True) for name, rule in stated.items()}
    return {**_FORMULAS, **dict.fromkeys(_AGREEMENT, agreement), **(unstated or {}), **told}


_LEFT_OUT = Rule(nan, 0, 0)  # an agreement about nothing does not count
_REWARDED = Rule(1, 0, 0)  # it is perfect
_LESIONS_ONLY = Rule(nan, nan, 0)  # only cases with a lesion count

CONVENTIONS: Mapping[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention(
            "nnunet",
            "Both empty: left out of the mean. One empty: 0.",
            "nnU-Net 2.8.1, evaluate_predictions.py: NaN, then nanmean over the cases",
            _rules(_LEFT_OUT, dice=_LEFT_OUT, iou=_LEFT_OUT),
        ),
        Convention(
            "study",
            "Both empty: 1. One empty: 0.",
            "Galdran et al. 2022, https://arxiv.org/abs/2209.06078",
            _rules(_REWARDED, dice=_REWARDED),
        ),
        Convention(
            "panoptica",
            "Both empty: left out. One empty: 0, distances infinite. No pair: segmentation quality 0.",
            "panoptica 2.1.7, default edge cases; HD95 as its ASSD",
            _rules(
                _LEFT_OUT,
                dice=_LEFT_OUT,
                iou=_LEFT_OUT,
                lesion_f1=_LEFT_OUT,
                lesion_sensitivity=Rule(nan, nan, 0),
                lesion_precision=Rule(nan, 0, nan),
                pq=_LEFT_OUT,
                sq=Rule(nan, 0, 0, undefined=0),
                unstated={Metric.HD95: Rule(nan, inf, inf)},
            ),
        ),
        Convention(
            "isles22",
            "Both empty: 1 for Dice and lesion-wise F1. One empty: 0.",
            "ISLES'22 challenge, https://doi.org/10.1038/s41597-022-01875-5",
            _rules(_REWARDED, dice=_REWARDED, lesion_f1=_REWARDED),
        ),
        Convention(
            "brats",
            "Both empty: 1, HD95 0. One empty: 0, HD95 374.",
            "BraTS 2023, https://github.com/rachitsaluja/BraTS-2023-Metrics; 374 mm: its images' diagonal",
            _rules(_REWARDED, dice=_REWARDED, hd95=Rule(0, 374, 374)),
        ),
        Convention(
            "autopet",
            "Only cases with a lesion count; lesion-free ones have their false-positive volume.",
            "autoPET challenge, https://doi.org/10.1038/s42256-024-00912-9",
            _rules(_LESIONS_ONLY, dice=_LESIONS_ONLY),
        ),
        Convention(
            "monai_ignore_empty",
            "Empty reference: left out, whatever was predicted. Empty prediction: 0.",
            "MONAI 1.6.1, DiceMetric and MeanIoU with ignore_empty=True, compute_surface_dice",
            _rules(
                _LESIONS_ONLY,
                dice=_LESIONS_ONLY,
                iou=_LESIONS_ONLY,
                nsd=_LEFT_OUT,
                hd95=Rule(nan, nan, nan),
            ),
        ),
        Convention(
            "monai_keep_empty",
            "Both empty: 1. One empty: 0. Surface measures: both empty are left out.",
            "MONAI 1.6.1, DiceMetric and MeanIoU with ignore_empty=False, compute_surface_dice",
            _rules(_REWARDED, dice=_REWARDED, iou=_REWARDED, nsd=_LEFT_OUT, hd95=Rule(nan, nan, nan)),
        ),
    )
}


def find_convention(name: str) -> Convention:
    """Convention of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in CONVENTIONS:
        raise ValueError(f"the convention {name!r} is unknown; choose among {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]
