"""The sliding window: run the network on every tile and blend the logits, with nnU-Net's arithmetic.

nnU-Net adds the weighted tiles up in float16. That rounding is part of its answer, so by default it is
reproduced addition by addition; ``accumulation="float32"`` is more accurate than the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal

from .half import largest_magnitude
from .tiles import Slices, gaussian_weights, mirrorings, pad_to_patch, tile_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends import TileNetwork
    from nnunet_losses.serve.schema import Tiling

Accumulation = Literal["float16", "float32"]


@dataclass(frozen=True, eq=False)
class Tiles:
    """A network input cut into tiles.

    Attributes:
        padded: float32 (channels, z, y, x), at least as large as the patch.
        slices: of each tile in ``padded``.
        back: slices of (channels, z, y, x) that undo the padding.
    """

    padded: NDArray[np.float32]
    slices: list[Slices]
    back: tuple[slice, ...]

    @classmethod
    def cut(cls, data: NDArray[np.float32], tiling: Tiling) -> Tiles:
        """Cut (channels, z, y, x) as the tiling says."""
        padded, back = pad_to_patch(data, tiling.patch_size)
        return cls(padded, tile_slices(padded.shape[1:], tiling.patch_size, tiling.step_size), back)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> NDArray[np.float32]:
        """Tile as the network takes it: (1, channels, *patch), contiguous."""
        return np.ascontiguousarray(self.padded[self.slices[index]][None])


@dataclass(eq=False)
class Stitcher:
    """Runs networks over tiles. One object serves one image.

    Attributes:
        tiling: patch, weights and mirrored axes.
        heads: number of logit channels.
        accumulation: dtype of the sums.
        progress: called with (tiles done, tiles to do) after each tile; may raise to stop.
        features: pooled features of the first network's plain passes by output name, one entry per tile.
        forward_passes: how often a network ran.
        network_seconds: time inside the networks.
    """

    tiling: Tiling
    heads: int
    accumulation: Accumulation = "float16"
    progress: Callable[[int, int], None] | None = None
    features: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)
    forward_passes: int = 0
    network_seconds: float = 0.0

    def logits(self, tiles: Tiles, networks: Sequence[Callable[[], TileNetwork]]) -> NDArray[Any]:
        """Mean over the networks of their stitched logits: (heads, z, y, x) in the accumulation's dtype.

        Raises:
            Refusal: BACKEND_FAILED where the logits overflow or are no numbers.
        """
        # overflow is looked for, and refused, once a network's tiles are blended
        with np.errstate(over="ignore", invalid="ignore"):
            weights = self._weight_sum(tiles)
            total = self._stitch(tiles, networks[0](), weights, (0, len(networks)))
            for index, network in enumerate(networks[1:], start=1):
                total += self._stitch(tiles, network(), weights, (index, len(networks)))
        if len(networks) > 1:
            total /= total.dtype.type(len(networks))
        _require_finite(total)
        return total[tiles.back]

    def _weights(self) -> NDArray[Any]:
        size = tuple(self.tiling.patch_size)
        return gaussian_weights(size) if self.tiling.gaussian else np.ones(size, np.float16)

    def _weight_sum(self, tiles: Tiles) -> NDArray[Any]:
        """Sum of the tiles' weights at each voxel."""
        total = np.zeros(tiles.padded.shape[1:], self.accumulation)
        for slices in tiles.slices:
            total[slices[1:]] += self._weights()
        return total

    def _stitch(
        self, tiles: Tiles, network: TileNetwork, weight_sum: NDArray[Any], turn: tuple[int, int]
    ) -> NDArray[Any]:
        """Weighted mean of one network's tiles; ``turn`` says which of how many networks it is."""
        logits = np.zeros((self.heads, *tiles.padded.shape[1:]), self.accumulation)
        weights = self._weights().astype(np.float32)
        for index, slices in enumerate(tiles.slices):
            prediction = self._mirrored(network, tiles[index], keep_features=turn[0] == 0)
            if self.tiling.gaussian:
                prediction *= weights
            prediction += logits[slices]  # float32; assigning rounds the sum to the accumulation's dtype
            logits[slices] = prediction
            if self.progress is not None:
                self.progress(turn[0] * len(tiles) + index + 1, turn[1] * len(tiles))
        logits /= weight_sum
        _require_finite(logits)
        return logits

    def _mirrored(
        self, network: TileNetwork, tile: NDArray[np.float32], *, keep_features: bool
    ) -> NDArray[np.float32]:
        """Mean of the logits (heads, *patch) over all mirrorings, summed in nnU-Net's order."""
        flips = mirrorings(self.tiling.mirror_axes)
        total = self._forward(network, tile, keep_features=keep_features)
        for axes in flips[1:]:
            flipped = np.ascontiguousarray(np.flip(tile, axes))
            total += np.flip(self._forward(network, flipped, keep_features=False), axes)
        total /= np.float32(len(flips))
        mean: NDArray[np.float32] = total[0]
        return mean

    def _forward(
        self, network: TileNetwork, tile: NDArray[np.float32], *, keep_features: bool
    ) -> NDArray[np.float32]:
        """One pass: fresh logits (1, heads, *patch)."""
        start = perf_counter()
        output = network.run(tile)
        self.network_seconds += perf_counter() - start
        self.forward_passes += 1
        expected = (1, self.heads, *self.tiling.patch_size)
        if output.logits.shape != expected:
            raise Refusal(
                Code.BACKEND_FAILED,
                f"The network answered with logits of shape {output.logits.shape}; expected {expected}.",
                remedy="Export the model again.",
                observed=list(output.logits.shape),
                expected=list(expected),
            )
        if keep_features:
            for name, values in output.features.items():
                self.features.setdefault(name, []).append(values[0])
        return output.logits


def _require_finite(logits: NDArray[Any]) -> None:
    if not np.isfinite(largest_magnitude(logits)):
        raise Refusal(
            Code.BACKEND_FAILED,
            f"The stitched logits hold infinite values or none at all: {logits.dtype} sums overflowed, "
            "or the network failed.",
            remedy='Use accumulation="float32", or check the image for extreme intensities.',
        )
