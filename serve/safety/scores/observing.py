"""A case's observation from what the served pipeline made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .found import body_box, observe_mask
from .observation import Observation, observe_image, observe_preprocessed
from .pooling import foreground_weights, pooled

if TYPE_CHECKING:
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.pipeline.preprocess import Preprocessed
    from nnunet_losses.serve.pipeline.segment import Segmentation
    from nnunet_losses.serve.pipeline.stitch import Tiles
    from nnunet_losses.serve.schema import ModelDescription


def observe(
    image: Image,
    preprocessed: Preprocessed,
    tiles: Tiles,
    segmentation: Segmentation,
    description: ModelDescription,
) -> Observation:
    """Look at a case that was segmented. Calibration and service must both come by this way.

    Args:
        image: as the reader returns it.
        preprocessed: the same, as the bundle's first member gets it.
        tiles: of that.
        segmentation: its mask, and the first member's features of those tiles.
        description: of the model.

    Raises:
        ValueError: for voxels that are not finite, or features of other tiles.
    """
    forward = description.members[0].preprocessing.transpose_forward
    weights = foreground_weights(segmentation.mask, preprocessed, tiles, forward)
    body = body_box(preprocessed, forward)
    return replace(
        observe_image(image),
        preprocessed=observe_preprocessed(preprocessed, len(image.data)),
        features=pooled(segmentation.features),
        foreground_features=pooled(segmentation.features, weights),
        found=observe_mask(segmentation.mask, description.labels, image.geometry, body),
    )
