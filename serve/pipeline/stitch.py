"""The sliding window: run the network on every tile and blend the logits, with nnU-Net's arithmetic.

nnU-Net adds the weighted tiles up in float16. That rounding is part of its answer, so by default it is
reproduced addition by addition; ``accumulation="float32"`` is more accurate than the reference.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nnunet_losses.serve.backends import stream
from nnunet_losses.serve.errors import Code, Refusal

from .agreement import ENTROPY, FOLDS, MIRRORS, Agreement, Counts, Marking, marked_entropy
from .blend import add_weighted, divide
from .half import largest_magnitude
from .parallel import Workers
from .tiles import Slices, gaussian_weights, mirrorings, pad_to_patch, tile_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends import TileNetwork, TileOutput
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
        features: for each network, pooled features of its plain passes by output name, one entry per tile.
        forward_passes: how often a network ran.
        network_seconds: time spent waiting for the networks.
        threads: for blending; None takes the cores that this process may use.
        marking: what a pass marks, where it is wanted how far passes agree; None measures nothing.
        doubts: for each network, these measures by name, see ``agreement``.
    """

    tiling: Tiling
    heads: int
    accumulation: Accumulation = "float16"
    progress: Callable[[int, int], None] | None = None
    features: list[dict[str, list[NDArray[np.float32]]]] = field(default_factory=list)
    forward_passes: int = 0
    network_seconds: float = 0.0
    threads: int | None = None
    marking: Marking | None = None
    doubts: list[dict[str, float]] = field(default_factory=list)

    def logits(self, tiles: Tiles, networks: Sequence[Callable[[], TileNetwork]]) -> NDArray[Any]:
        """Mean over the networks of their stitched logits: (heads, z, y, x) in the accumulation's dtype.

        Raises:
            Refusal: BACKEND_FAILED where the logits overflow or are no numbers.
        """
        count = len(networks)
        folds = None if self.marking is None or count == 1 else Counts(self.marking)
        with Workers(self.threads) as workers, _refusing_overflow(self.accumulation):
            weights = self._weight_sum(tiles, workers)
            total = self._stitch(tiles, networks[0](), weights, (0, count), workers)
            self._look(total[tiles.back], folds)
            for index in range(1, count):
                more = self._stitch(tiles, networks[index](), weights, (index, count), workers)
                self._look(more[tiles.back], folds)
                add_weighted(total, more, None, workers)
                del more
            if count > 1:
                divide(total, np.array(count, total.dtype), workers)
            if not np.isfinite(largest_magnitude(total)):
                raise OverflowError
        if folds is not None:
            self._compare(folds)
        inner: NDArray[Any] = total[tiles.back]
        return inner

    def _look(self, logits: NDArray[Any], folds: Counts | None) -> None:
        """Measure what one network's stitched logits say, and count what they mark."""
        if self.marking is None:
            return
        share = marked_entropy(logits, self.marking)
        if share is not None:
            self.doubts[-1][ENTROPY] = share
        if folds is not None:
            folds.see(logits)

    def _compare(self, folds: Counts) -> None:
        """How far the networks agree is one number, and the same for all."""
        assert self.marking is not None, "folds are counted only with it"
        agreement = Agreement(self.marking)
        agreement.count(folds)
        for doubts in self.doubts:
            doubts[FOLDS] = agreement.disagreement

    def _weights(self) -> NDArray[Any]:
        size = tuple(self.tiling.patch_size)
        return gaussian_weights(size) if self.tiling.gaussian else np.ones(size, np.float16)

    def _weight_sum(self, tiles: Tiles, workers: Workers) -> NDArray[Any]:
        """Sum of the tiles' weights at each voxel."""
        total = np.zeros((1, *tiles.padded.shape[1:]), self.accumulation)
        weights = _with_depth(self._weights().astype(np.float32)[np.newaxis])
        for slices in tiles.slices:
            add_weighted(_with_depth(total[slices]), weights, None, workers)
        summed: NDArray[Any] = total[0]
        return summed

    def _stitch(
        self,
        tiles: Tiles,
        network: TileNetwork,
        weight_sum: NDArray[Any],
        turn: tuple[int, int],
        workers: Workers,
    ) -> NDArray[Any]:
        """Weighted mean of one network's tiles; ``turn`` says which of how many networks it is."""
        logits = np.zeros((self.heads, *tiles.padded.shape[1:]), self.accumulation)
        self.features.append({})
        mirrors = None if self.marking is None or not self.tiling.mirror_axes else Agreement(self.marking)
        weights = self._weights().astype(np.float32)
        weights = weights if weights.ndim == 3 else weights[np.newaxis]
        # one stream over all passes: the network works on the next one while this one is added up
        with closing(stream(network, self._passes(tiles))) as outputs:
            for index, slices in enumerate(tiles.slices):
                prediction = self._mirrored(outputs, workers, mirrors)
                sums = _with_depth(logits[slices])
                add_weighted(
                    sums, _with_depth(prediction), weights if self.tiling.gaussian else None, workers
                )
                if self.progress is not None:
                    self.progress(turn[0] * len(tiles) + index + 1, turn[1] * len(tiles))
        divide(logits, weight_sum, workers)
        if self.marking is not None:
            self.doubts.append({} if mirrors is None else {MIRRORS: mirrors.disagreement})
        return logits

    def _passes(self, tiles: Tiles) -> Iterator[NDArray[np.float32]]:
        """What the network gets: every tile in all its mirrorings."""
        for index in range(len(tiles)):
            tile = tiles[index]
            for axes in mirrorings(self.tiling.mirror_axes):
                yield np.ascontiguousarray(np.flip(tile, axes))

    def _mirrored(
        self, outputs: Iterator[TileOutput], workers: Workers, mirrors: Agreement | None = None
    ) -> NDArray[np.float32]:
        """Mean of a tile's logits (heads, *patch) over all mirrorings, summed in nnU-Net's order.

        Valid until the next pass is asked for. How far the passes agree is added to ``mirrors``.
        """
        flips = mirrorings(self.tiling.mirror_axes)
        total: NDArray[np.float32] = self._next(outputs, keep_features=True)[0]
        if len(flips) == 1:
            return total
        total = np.array(total)  # the next pass may write over it
        counts = None if mirrors is None else Counts(mirrors.marking)
        if counts is not None:
            counts.see(total)
        for axes in flips[1:]:
            back = np.flip(self._next(outputs, keep_features=False), axes)[0]
            workers.map(partial(_add_head, total, back), range(len(total)))
            if counts is not None:
                counts.see(back)
        total /= np.float32(len(flips))
        if mirrors is not None and counts is not None:
            mirrors.count(counts, self._weights() if self.tiling.gaussian else None)
        return total

    def _next(self, outputs: Iterator[TileOutput], *, keep_features: bool) -> NDArray[np.float32]:
        """One pass: logits (1, heads, *patch), valid until the next one is asked for."""
        start = perf_counter()
        output = next(outputs)
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
                self.features[-1].setdefault(name, []).append(np.array(values[0]))
        return output.logits


def _with_depth(tile: NDArray[Any]) -> NDArray[Any]:
    """(heads, z, y, x) of a tile (heads, *patch), which in two dimensions has no z."""
    return tile if tile.ndim == 4 else tile[:, np.newaxis]


def _add_head(total: NDArray[np.float32], other: NDArray[np.float32], head: int) -> None:
    total[head] += other[head]


@contextmanager
def _refusing_overflow(accumulation: Accumulation) -> Iterator[None]:
    # float32 sums that overflow are found at the end
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            yield
        except OverflowError as error:
            raise Refusal(
                Code.BACKEND_FAILED,
                f"The stitched logits hold infinite values or none at all: {accumulation} sums overflowed, "
                "or the network failed.",
                remedy='Use accumulation="float32", or check the image for extreme intensities.',
            ) from error
