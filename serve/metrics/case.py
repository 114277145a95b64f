"""One case: everything that two masks say about each label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .calibration_error import ReliabilityBins, reliability_bins
from .conventions import Emptiness, Metric, find_convention
from .labels import whole_numbers
from .lesions import Connectivity, Lesions, Matching, find_lesions
from .overlap import VoxelCounts, as_mask, count_voxels
from .surfaces import check_spacing, surface_distances

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .labels import LabelSet


@dataclass(frozen=True)
class Settings:
    """What the metrics are computed with.

    Attributes:
        tolerance: of NSD, in the unit of the spacing.
        connectivity: which neighbours join a lesion.
        matching: which lesions belong together.
        minimum_iou: that a pair of lesions needs.
    """

    tolerance: float = 1.0
    connectivity: Connectivity = Connectivity.CORNER
    matching: Matching = Matching.ONE_TO_ONE
    minimum_iou: float = 0.0

    def __post_init__(self) -> None:
        # a name or a number may stand for them; anything else is a ValueError
        object.__setattr__(self, "connectivity", Connectivity(self.connectivity))
        object.__setattr__(self, "matching", Matching(self.matching))
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"the tolerance is {self.tolerance}; give a finite distance of at least 0")
        if not 0 <= self.minimum_iou <= 1:
            raise ValueError(f"the minimum IoU is {self.minimum_iou}; it lies between 0 and 1")


@dataclass(frozen=True, eq=False)
class LabelResult:
    """One label of one case.

    Attributes:
        counts: of voxels.
        nsd: normalised surface distance; NaN where a mask is empty.
        hd95: 95th percentile of the Hausdorff distance, in the unit of the spacing; NaN likewise.
        lesions: of both masks.
        voxel_size: volume of a voxel, millilitres for millimetres; area of a pixel for two axes.
        score: how sure the model is that the label is present; None where nobody says.
        reliability: bins of its probability; None where there are no probabilities.
    """

    counts: VoxelCounts
    nsd: float
    hd95: float
    lesions: Lesions
    voxel_size: float
    score: float | None = None
    reliability: ReliabilityBins | None = None

    @property
    def emptiness(self) -> Emptiness:
        """Which mask holds anything."""
        return Emptiness.of(self.counts.predicted, self.counts.referenced)

    @property
    def present(self) -> bool:
        """Whether the reference holds anything."""
        return self.counts.referenced > 0

    @property
    def predicted_volume(self) -> float:
        """Of the prediction."""
        return self.counts.predicted * self.voxel_size

    @property
    def reference_volume(self) -> float:
        """Of the reference."""
        return self.counts.referenced * self.voxel_size

    @property
    def absolute_volume_difference(self) -> float:
        """Between prediction and reference."""
        return abs(self.counts.predicted - self.counts.referenced) * self.voxel_size

    @property
    def false_positive_volume(self) -> float:
        """Of the predicted lesions that contain no reference voxel, as autoPET defines it."""
        lesions = self.lesions
        return float(lesions.prediction_voxels[lesions.untouched_prediction].sum() * self.voxel_size)

    @property
    def false_negative_volume(self) -> float:
        """Of the reference lesions that contain no predicted voxel, as autoPET defines it."""
        lesions = self.lesions
        return float(lesions.reference_voxels[lesions.untouched_reference].sum() * self.voxel_size)

    def formula(self, metric: Metric) -> float:
        """Value that the formula alone gives; NaN for 0 / 0."""
        values: dict[Metric, float] = {
            Metric.DICE: self.counts.dice,
            Metric.IOU: self.counts.iou,
            Metric.NSD: self.nsd,
            Metric.HD95: self.hd95,
            Metric.LESION_F1: self.lesions.f1,
            Metric.LESION_SENSITIVITY: self.lesions.sensitivity,
            Metric.LESION_PRECISION: self.lesions.precision,
            Metric.PANOPTIC_QUALITY: self.lesions.panoptic_quality,
            Metric.SEGMENTATION_QUALITY: self.lesions.segmentation_quality,
        }
        return values[metric]

    def value(self, metric: Metric, convention: str) -> float:
        """Value under a convention; NaN where the case does not count for it.

        Raises:
            ValueError: for an unknown convention.
        """
        rule = find_convention(convention).rules[metric]
        if self.lesions.matched_iou is None and metric in _PAIRED:
            return math.nan  # without pairs there is nothing that a convention could complete
        return rule.value(self.emptiness, self.formula(metric))


_PAIRED = (Metric.PANOPTIC_QUALITY, Metric.SEGMENTATION_QUALITY)


@dataclass(frozen=True, eq=False)
class CaseResult:
    """One case: its name and a result for each label, by the label's name."""

    case: str
    labels: Mapping[str, LabelResult]


def evaluate_masks(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing: Sequence[float],
    valid: NDArray[np.bool_] | None = None,
    settings: Settings = Settings(),
    score: float | None = None,
    probability: NDArray[np.floating] | None = None,
) -> LabelResult:
    """Evaluate one label of one case.

    Args:
        prediction: bool, or 0 and 1, (y, x) or (z, y, x).
        reference: likewise, the same shape.
        spacing: distance of neighbouring voxels along each axis, in array order.
        valid: bool, the same shape; voxels outside are background in both masks, and not counted.
        settings: of the metrics.
        score: how sure the model is that the label is present.
        probability: of foreground, 0 to 1, the same shape.

    Raises:
        ValueError: for shapes, a spacing or values that do not fit.

    Example:
        >>> import numpy as np
        >>> reference = np.zeros((8, 8, 8), bool)
        >>> reference[2:6, 2:6, 2:6] = True
        >>> result = evaluate_masks(np.roll(reference, 1, axis=0), reference, spacing=(2.0, 1.0, 1.0))
        >>> result.counts.dice, result.hd95, result.reference_volume
        (0.75, 2.0, 0.128)
        >>> result.value(Metric.DICE, "nnunet")
        0.75
    """
    prediction, reference = as_mask(prediction, "prediction"), as_mask(reference, "reference")
    valid = None if valid is None else as_mask(valid, "valid mask")
    check_spacing(spacing, reference.ndim)
    counts = count_voxels(prediction, reference, valid)
    if valid is not None:
        prediction, reference = prediction & valid, reference & valid
    distances = surface_distances(prediction, reference, spacing)
    return LabelResult(
        counts=counts,
        nsd=distances.nsd(settings.tolerance),
        hd95=distances.hausdorff(95),
        lesions=find_lesions(
            prediction,
            reference,
            connectivity=settings.connectivity,
            matching=settings.matching,
            minimum_iou=settings.minimum_iou,
        ),
        voxel_size=math.prod(spacing) / (1000 if reference.ndim == 3 else 1),
        score=score,
        reliability=None if probability is None else reliability_bins(probability, reference, valid),
    )


def evaluate_case(
    case: str,
    prediction: NDArray[Any],
    reference: NDArray[Any],
    *,
    spacing: Sequence[float],
    labels: LabelSet,
    settings: Settings = Settings(),
    scores: Mapping[str, float] | None = None,
    probabilities: Mapping[str, NDArray[np.floating]] | None = None,
) -> CaseResult:
    """Evaluate all labels of one case.

    Args:
        case: its name.
        prediction: whole numbers (y, x) or (z, y, x).
        reference: whole numbers, the same shape.
        spacing: distance of neighbouring voxels along each axis, in array order.
        labels: which values belong to which label, and which value is to be ignored.
        settings: of the metrics.
        scores: by the label's name, how sure the model is that it is present.
        probabilities: by the label's name, of its foreground, 0 to 1, the same shape.

    Raises:
        ValueError: for shapes, a spacing or values that do not fit.
    """
    prediction, reference = whole_numbers(prediction, "prediction"), whole_numbers(reference, "reference")
    valid = None if labels.ignore is None else reference != labels.ignore
    return CaseResult(
        case,
        {
            label.name: evaluate_masks(
                label.mask(prediction),
                label.mask(reference),
                spacing=spacing,
                valid=valid,
                settings=settings,
                score=(scores or {}).get(label.name),
                probability=(probabilities or {}).get(label.name),
            )
            for label in labels.labels
        },
    )
