"""The sliding window on a GPU: tiles, mirroring and sums stay there. See ``stitch`` for the arithmetic.

This code has never run on a GPU: it is tested with NumPy in CuPy's place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import prod
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nnunet_losses.serve.backends.network import LOGITS, OutOfDeviceMemory
from nnunet_losses.serve.errors import Code, Refusal

from .tiles import gaussian_weights, mirrorings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends.device import Arrays
    from nnunet_losses.serve.schema import Tiling

    from .stitch import Accumulation, Tiles

    Progress = Callable[[int, int], None]

Result = TypeVar("Result")
# voxels of mirrored tiles that are given to the network at once: more is no faster, and needs more memory
_VOXELS_AT_ONCE = 2**22


@dataclass
class Memory:
    """What a GPU's memory was found to allow. It is kept from image to image.

    Attributes:
        batch: mirrored tiles at once.
        on_host: whether image and sums lie in the host's memory.
        wanted: the batch that was begun with.
    """

    batch: int
    on_host: bool = False
    wanted: int = 0

    def __post_init__(self) -> None:
        self.wanted = self.wanted or self.batch

    @classmethod
    def of(cls, tiling: Tiling) -> Memory:
        """Begin with as many mirrored tiles as are worth it."""
        worth = max(1, _VOXELS_AT_ONCE // prod(tiling.patch_size))
        return cls(min(worth, len(mirrorings(tiling.mirror_axes))))

    def step_back(self, error: OutOfDeviceMemory) -> None:
        """Ask for less.

        Raises:
            Refusal: BACKEND_FAILED where there is nothing less to ask for.
        """
        if self.batch > 1:
            self.batch //= 2
        elif not self.on_host:
            self.on_host = True
        else:
            raise Refusal(
                Code.BACKEND_FAILED,
                f"The GPU's memory is not enough for a single tile: {error}",
                remedy="Free memory on the GPU, or use --backend cpu or openvino.",
            ) from error

    @property
    def warnings(self) -> tuple[tuple[str, str], ...]:
        """What was done without."""
        found = []
        if self.batch < self.wanted:
            text = (
                f"The GPU's memory was short: {self.batch} instead of {self.wanted} mirrored tiles at once."
            )
            found.append(("gpu.smaller_batches", text))
        if self.on_host:
            text = (
                "The GPU's memory was short: image and sums were kept in the host's memory, which is slower."
            )
            found.append(("gpu.sums_on_host", text))
        return tuple(found)


@dataclass(eq=False)
class GpuStitcher:
    """Runs networks over tiles that stay in a GPU's memory. One object serves one image.

    Attributes:
        tiling: patch, weights and mirrored axes.
        heads: number of logit channels.
        arrays: of the GPU.
        memory: how much of it there is; changed where it is too little.
        accumulation, progress, features, forward_passes, network_seconds: as in ``Stitcher``.
    """

    tiling: Tiling
    heads: int
    arrays: Arrays
    memory: Memory
    accumulation: Accumulation = "float16"
    progress: Progress | None = None
    features: list[dict[str, list[NDArray[np.float32]]]] = field(default_factory=list)
    forward_passes: int = 0
    network_seconds: float = 0.0
    _kept: dict[str, Any] = field(default_factory=dict)  # arrays that move to the host where memory is short

    def logits(self, tiles: Tiles, networks: Sequence[Callable[[], Any]]) -> Any:
        """Mean over the networks of their stitched logits: (heads, z, y, x), on the GPU while that has room.

        Args:
            tiles: of the image.
            networks: functions that open networks with ``run_on_device``.

        Raises:
            Refusal: BACKEND_FAILED where the logits overflow, or the memory is not enough for a tile.
        """
        weights = gaussian_weights(tuple(self.tiling.patch_size))
        self._keep(
            "weights", lambda xp: xp.asarray(weights if self.tiling.gaussian else np.ones_like(weights))
        )
        self._keep("image", lambda xp: xp.asarray(tiles.padded))
        self._keep("weight_sum", lambda xp: self._weight_sum(xp, tiles))
        for index, opened in enumerate(networks):
            self._stitch(tiles, opened(), (index, len(networks)))
            self._fitting(self._add_to_total)
        total = self._kept.pop("total")
        if len(networks) > 1:
            total /= total.dtype.type(len(networks))
        self._kept.clear()
        _require_finite(total)
        return total[tiles.back]

    def _stitch(self, tiles: Tiles, network: Any, turn: tuple[int, int]) -> None:
        """Weighted mean of one network's tiles, kept as ``sums``."""
        shape = (self.heads, *tiles.padded.shape[1:])
        self._keep("sums", lambda xp: xp.zeros(shape, self.accumulation))
        self.features.append({})
        for index, slices in enumerate(tiles.slices):
            self._fitting(partial(self._add, network, slices))
            if self.progress is not None:
                self.progress(turn[0] * len(tiles) + index + 1, turn[1] * len(tiles))
        self._kept["sums"] /= self._kept["weight_sum"]
        _require_finite(self._kept["sums"])

    def _add_to_total(self) -> None:
        sums = self._kept["sums"]
        if "total" in self._kept:
            self._kept["total"] += sums
        else:
            self._kept["total"] = sums
        del self._kept["sums"]

    def _weight_sum(self, xp: Any, tiles: Tiles) -> Any:
        total = xp.zeros(tiles.padded.shape[1:], self.accumulation)
        weights = xp.asarray(self._kept["weights"])
        for slices in tiles.slices:
            total[slices[1:]] += weights
        return total

    def _add(self, network: Any, slices: Any) -> None:
        """Add one tile to the sums; nothing is changed where the memory is not enough."""
        xp = self.arrays.xp
        tile = xp.ascontiguousarray(xp.asarray(self._kept["image"][slices])[None])
        prediction, features = self._mirrored(network, tile)
        if self.tiling.gaussian:
            prediction *= xp.asarray(self._kept["weights"]).astype(np.float32)
        if self.memory.on_host:
            prediction = self.arrays.host(prediction)
        sums = self._kept["sums"]
        prediction += sums[slices]  # float32; assigning rounds the sum to the accumulation's dtype
        sums[slices] = prediction
        for name, values in features.items():
            self.features[-1].setdefault(name, []).append(self.arrays.host(values[0]))

    def _mirrored(self, network: Any, tile: Any) -> tuple[Any, dict[str, Any]]:
        """Mean of the logits (heads, *patch) over all mirrorings, in nnU-Net's order; the plain features."""
        xp, flips = self.arrays.xp, mirrorings(self.tiling.mirror_axes)
        total: Any = None
        features: dict[str, Any] = {}
        for start in range(0, len(flips), self.memory.batch):
            group = flips[start : start + self.memory.batch]
            batch = xp.ascontiguousarray(xp.concatenate([xp.flip(tile, axes) for axes in group]))
            outputs = self._run(network, batch, with_features=start == 0)
            logits = outputs.pop(LOGITS)
            features = outputs or features
            for index, axes in enumerate(group):
                single = xp.flip(logits[index : index + 1], axes)
                total = single.copy() if total is None else xp.add(total, single, out=total)
        assert total is not None, "there is at least the plain pass"
        total /= np.float32(len(flips))
        return total[0], features

    def _run(self, network: Any, batch: Any, *, with_features: bool) -> dict[str, Any]:
        start = perf_counter()
        shapes = network.shapes(len(batch))
        expected = (len(batch), self.heads, *self.tiling.patch_size)
        if tuple(shapes[LOGITS]) != expected:
            raise Refusal(
                Code.BACKEND_FAILED,
                f"The network answers with logits of shape {shapes[LOGITS]}; expected {expected}.",
                remedy="Export the model again.",
                observed=list(shapes[LOGITS]),
                expected=list(expected),
            )
        wanted = {name: shape for name, shape in shapes.items() if name == LOGITS or with_features}
        outputs = {name: self.arrays.xp.empty(shape, np.float32) for name, shape in wanted.items()}
        self.arrays.synchronize()
        network.run_on_device(batch, outputs)
        self.network_seconds += perf_counter() - start
        self.forward_passes += len(batch)
        return outputs

    def _keep(self, name: str, make: Callable[[Any], Any]) -> None:
        """Make an array where there is room for it."""

        def work() -> None:
            self._kept[name] = make(np if self.memory.on_host else self.arrays.xp)

        self._fitting(work)

    def _fitting(self, work: Callable[[], Result]) -> Result:
        """Do what needs memory, stepping back as often as there is too little."""
        while True:
            try:
                with self.arrays.memory():
                    return work()
            except OutOfDeviceMemory as error:
                self.memory.step_back(error)
                if self.memory.on_host:
                    self._kept = {name: self.arrays.host(array) for name, array in self._kept.items()}
                self.arrays.release()


def _require_finite(logits: Any) -> None:
    largest = max(float(logits.max()), -float(logits.min()))
    if not np.isfinite(largest):
        raise Refusal(
            Code.BACKEND_FAILED,
            f"The stitched logits hold infinite values or none at all: {logits.dtype} sums overflowed, "
            "or the network failed.",
            remedy='Use accumulation="float32", or check the image for extreme intensities.',
        )
