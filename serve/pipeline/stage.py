"""One member of a bundle: from an image to its logits, and the way back to the image's grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .ensemble import Vote
from .labels import label_mask
from .preprocess import Preprocessed, preprocess, resampled_shape
from .resample import plan_resize
from .stitch import Accumulation, Stitcher, Tiles
from .tiles import tile_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends import TileNetwork
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Member, ModelDescription

    from .cascade import PreviousStage

    Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Stitched:
    """What the networks said about an image.

    Attributes:
        logits: (heads, z, y, x) in the network's space, float16 unless asked otherwise: the mean over folds.
        features: pooled encoder features by output name, (tiles, channels): of the first fold's plain passes.
        tiles: number of tiles.
        forward_passes: tiles times mirrorings times folds.
        network_seconds: time spent inside the networks.
        warnings: codes and messages about what an engine had to do without.
    """

    logits: NDArray[Any]
    features: dict[str, NDArray[np.float32]]
    tiles: int
    forward_passes: int
    network_seconds: float
    warnings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Frame:
    """Where the cropped grid lies in the image.

    Attributes:
        shape: of the image, in the network's axis order.
        box: the cropped part of it.
        forward: the image's axes in the network's order.
    """

    shape: tuple[int, ...]
    box: tuple[slice, slice, slice]
    forward: tuple[int, int, int]

    def whole(self, cropped: NDArray[Any], fill: float = 0) -> NDArray[Any]:
        """Put values of the cropped grid on the image's own: (z, y, x)."""
        full = np.full(self.shape, fill, cropped.dtype)
        full[self.box] = cropped
        return np.ascontiguousarray(full.transpose(np.argsort(self.forward)))


class Stage:
    """One member with its networks, which are opened when they are first needed, and kept.

    Attributes:
        member: what the bundle says of it.
    """

    def __init__(
        self,
        member: Member,
        description: ModelDescription,
        opener: Callable[[int], TileNetwork],
        accumulation: Accumulation,
    ) -> None:
        self.member = member
        self._description = description
        self._open = opener
        self._accumulation: Accumulation = accumulation
        self._networks: dict[int, TileNetwork] = {}

    def network(self, fold: int) -> TileNetwork:
        """Network of a fold (by position), opened once."""
        if fold not in self._networks:
            self._networks[fold] = self._open(fold)
        return self._networks[fold]

    def preprocess(self, image: Image, previous: PreviousStage | None = None) -> Preprocessed:
        """Bring an image, and what the previous stage found, into the network's space."""
        return preprocess(image, self.member, previous)

    def tiles(self, preprocessed: Preprocessed) -> Tiles:
        """Tiles of a preprocessed image: ``tiles[i]`` is what the network gets."""
        return Tiles.cut(preprocessed.data, self.member.tiling)

    def steps(self, shape: Sequence[int], spacing: Sequence[float]) -> int:
        """Number of tiles times folds for a cropped image of this shape and spacing (z, y, x)."""
        patch, network_shape = self.member.tiling.patch_size, resampled_shape(shape, spacing, self.member)
        inner = map(max, network_shape[-len(patch) :], patch)
        padded = (*network_shape[: -len(patch)], *inner)
        return len(self.member.folds) * len(tile_slices(padded, patch, self.member.tiling.step_size))

    def stitch(self, preprocessed: Preprocessed, *, progress: Progress | None = None) -> Stitched:
        """Run all folds over all tiles: the logits in the network's space."""
        tiles = self.tiles(preprocessed)
        stitcher = Stitcher(self.member.tiling, self._description.heads, self._accumulation, progress)
        networks = [partial(self.network, fold) for fold in range(len(self.member.folds))]
        logits = stitcher.logits(tiles, networks)
        features = {name: np.stack(values) for name, values in stitcher.features.items()}
        return Stitched(logits, features, len(tiles), stitcher.forward_passes, stitcher.network_seconds)

    def vote(self, logits: NDArray[Any], preprocessed: Preprocessed) -> Vote:
        """Logits with the way to the cropped image's grid."""
        plan = self.member.preprocessing
        spacings = (preprocessed.network_spacing, preprocessed.spacing)
        resize = plan_resize(logits.shape[1:], preprocessed.cropped_shape, spacings, plan.resampling_logits)
        return Vote(logits, resize, plan.transpose_forward)

    def frame(self, preprocessed: Preprocessed) -> Frame:
        """Where the cropped grid lies."""
        forward = self.member.preprocessing.transpose_forward
        return Frame(preprocessed.uncropped_shape, preprocessed.box, forward)

    def mask(self, logits: NDArray[Any], preprocessed: Preprocessed) -> NDArray[Any]:
        """Decide for labels on the image's own grid, (z, y, x)."""
        vote = self.vote(logits, preprocessed)
        return self.frame(preprocessed).whole(label_mask(vote.logits, vote.resize, self._description))
