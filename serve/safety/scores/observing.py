"""A case's observation from what the served pipeline made of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nnunet_losses.serve.pipeline.stitch import Tiles

from .found import body_box, observe_mask
from .observation import Observation, observe_image, observe_preprocessed
from .pooling import TileGrid, foreground_weights, pooled
from .texture import observe_texture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.pipeline.preprocess import Preprocessed
    from nnunet_losses.serve.pipeline.segment import Segmentation
    from nnunet_losses.serve.schema import ModelDescription


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What is kept of a network's input, which is too large to be kept itself.

    Attributes:
        levels: order statistics of the image's channels, as ``Observation.preprocessed``.
        texture: as ``Observation.texture``.
        grid: where the tiles lie in the image.
    """

    levels: NDArray[np.float64]
    texture: NDArray[np.float64]
    grid: TileGrid


def look_at_input(preprocessed: Preprocessed, description: ModelDescription) -> NetworkInput:
    """Keep what an observation needs of what the first member's network gets; for ``Segmenter.look``.

    Raises:
        ValueError: for voxels that are not finite.
    """
    member = description.members[0]
    tiles = Tiles.cut(preprocessed.data[:0], member.tiling)  # their places alone
    grid = TileGrid.of(preprocessed, tiles, member.preprocessing.transpose_forward)
    channels = len(description.channel_names)  # without a cascade's labels
    texture = observe_texture(preprocessed.data[:channels])
    return NetworkInput(observe_preprocessed(preprocessed, channels), texture, grid)


def observe_folds(
    seen: Observation,
    given: NetworkInput,
    segmentation: Segmentation,
    description: ModelDescription,
    image: Image,
) -> tuple[Observation, ...]:
    """Look at a case that was segmented. Calibration and service must both come by this way.

    Args:
        seen: the image, by ``observe_image``.
        given: what the network got of it.
        segmentation: its mask, and the first member's features of its tiles.
        description: of the model.
        image: as the reader returns it.

    Returns:
        One observation for each fold of the first member; they differ in their features and doubts.

    Raises:
        ValueError: for features of other tiles.
    """
    weights = foreground_weights(segmentation.mask, given.grid)
    body = body_box(given.grid.box, given.grid.forward)
    found = observe_mask(segmentation.mask, description.labels, image.geometry, body)
    folds = segmentation.fold_features or (segmentation.features,)
    doubts = segmentation.doubts or (None,) * len(folds)
    return tuple(
        replace(
            seen,
            preprocessed=given.levels,
            texture=given.texture,
            features=pooled(features),
            foreground_features=pooled(features, weights),
            found=found,
            doubts=own,
        )
        for features, own in zip(folds, doubts, strict=True)
    )


def observe(
    image: Image,
    preprocessed: Preprocessed,
    segmentation: Segmentation,
    description: ModelDescription,
) -> Observation:
    """Look at a case that was segmented, by the features of the first member's first fold.

    Args:
        image: as the reader returns it.
        preprocessed: the same, as the bundle's first member gets it.
        segmentation: its mask and features.
        description: of the model.

    Raises:
        ValueError: for voxels that are not finite, or features of other tiles.
    """
    given = look_at_input(preprocessed, description)
    return observe_folds(observe_image(image), given, segmentation, description, image)[0]
