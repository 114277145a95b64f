"""How sure nnU-Net is of each voxel, on the image's own grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def margin(predictor: Any, logits: Any, properties: dict[str, Any]) -> NDArray[np.float32]:
    """Distance of each voxel from another label.

    Args:
        predictor: nnU-Net's predictor.
        logits: its logits (heads, *resampled shape).
        properties: of the preprocessed case.

    Returns:
        float32 (z, y, x): the distance of the two best logits; under regions the smallest distance of a logit
        from 0, where its region ends. Infinite outside the cropped box, where nothing is predicted.
    """
    resampled = _resampled(predictor, logits, properties)
    distance = region_margin if predictor.label_manager.has_regions else label_margin
    full = np.full(properties["shape_before_cropping"], np.inf, np.float32)
    full[tuple(slice(*side) for side in properties["bbox_used_for_cropping"])] = distance(resampled)
    return full.transpose(predictor.plans_manager.transpose_backward)


def label_margin(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Best minus second best logit (heads first), one head at a time.

    Example:
        >>> label_margin(np.array([[1.0, 5.0], [4.0, 2.0], [3.5, 5.0]])).tolist()
        [0.5, 0.0]
    """
    best = np.full(logits.shape[1:], -np.inf, np.float32)
    second = best.copy()
    for head in logits:
        value = head.astype(np.float32)
        second = np.maximum(second, np.minimum(best, value))
        best = np.maximum(best, value)
    return best - second


def region_margin(logits: NDArray[Any]) -> NDArray[np.float32]:
    """Smallest absolute logit (heads first): at 0 the probability is 0.5.

    Example:
        >>> region_margin(np.array([[1.0, -5.0], [-4.0, 2.0]])).tolist()
        [1.0, 2.0]
    """
    smallest = np.full(logits.shape[1:], np.inf, np.float32)
    for head in logits:
        smallest = np.minimum(smallest, np.abs(head.astype(np.float32)))
    return smallest


def _resampled(predictor: Any, logits: Any, properties: dict[str, Any]) -> NDArray[Any]:
    """Bring logits to the image's grid with nnU-Net's function, as its export does."""
    configuration = predictor.configuration_manager
    shape = properties["shape_after_cropping_and_before_resampling"]
    spacing = [properties["spacing"][axis] for axis in predictor.plans_manager.transpose_forward]
    planned = list(configuration.spacing)
    current = planned if len(planned) == len(shape) else [spacing[0], *planned]
    return np.asarray(configuration.resampling_fn_probabilities(logits, shape, current, spacing))
