"""One member of a bundle: from an image to its logits, and the way back to the image's grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.backends.device import device_arrays
from nnunet_losses.serve.backends.network import OutOfDeviceMemory

from .agreement import Marking
from .ensemble import Vote
from .gpu_labels import label_mask as gpu_label_mask
from .gpu_stitch import GpuStitcher, Memory
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


_WITHOUT_CUPY = (
    "gpu.copies",
    "CuPy is not installed or finds no GPU: every tile was copied to the GPU and back, which is slower.",
)
_COMPARED_ON_HOST = (
    "gpu.compared_on_host",
    "Every tile was copied to the GPU and back to see how far passes agree, as the calibration asks: slower.",
)
_LABELS_ON_HOST = (
    "gpu.labels_on_host",
    "The GPU has no memory left to resample the logits: labels were decided on the processor, more slowly.",
)


@dataclass(frozen=True, eq=False)
class Stitched:
    """What the networks said about an image.

    Attributes:
        logits: (heads, z, y, x) in the network's space, float16 unless asked otherwise: the mean over folds.
        features: for each fold, pooled features of its plain passes by output name, (tiles, channels).
        tiles: number of tiles.
        forward_passes: tiles times mirrorings times folds.
        network_seconds: time spent inside the networks.
        warnings: codes and messages about what an engine had to do without.
        doubts: for each fold, how far its passes agree, by measure; empty where that was not wanted.
    """

    logits: NDArray[Any]
    features: tuple[dict[str, NDArray[np.float32]], ...]
    tiles: int
    forward_passes: int
    network_seconds: float
    warnings: tuple[tuple[str, str], ...] = ()
    doubts: tuple[dict[str, float], ...] = ()


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
        compares: whether it is measured how far passes and folds agree, see ``agreement``.
    """

    def __init__(
        self,
        member: Member,
        description: ModelDescription,
        opener: Callable[[int], TileNetwork],
        accumulation: Accumulation,
        threads: int | None = None,
    ) -> None:
        self.member = member
        self._description = description
        self._open = opener
        self._accumulation: Accumulation = accumulation
        self._threads = threads
        self.compares = False
        self._networks: dict[int, TileNetwork] = {}
        self._memory = Memory.of(member.tiling)  # of a GPU

    def network(self, fold: int) -> TileNetwork:
        """Network of a fold (by position), opened once."""
        if fold not in self._networks:
            self._networks[fold] = self._open(fold)
        return self._networks[fold]

    def preprocess(self, image: Image, previous: PreviousStage | None = None) -> Preprocessed:
        """Bring an image, and what the previous stage found, into the network's space."""
        return preprocess(image, self.member, previous, threads=self._threads)

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
        stitcher = self._stitcher(progress)
        networks = [partial(self.network, fold) for fold in range(len(self.member.folds))]
        logits = stitcher.logits(tiles, networks)
        features = tuple(
            {name: np.stack(values) for name, values in fold.items()} for fold in stitcher.features
        )
        on_host = isinstance(stitcher, Stitcher)
        warnings = self._copies() if on_host else self._memory.warnings
        doubts = tuple(stitcher.doubts) if isinstance(stitcher, Stitcher) else ()
        seconds = stitcher.network_seconds
        return Stitched(logits, features, len(tiles), stitcher.forward_passes, seconds, warnings, doubts)

    def _stitcher(self, progress: Progress | None) -> Stitcher | GpuStitcher:
        """Stitch where the networks run; where passes are compared, in the host's memory."""
        tiling, heads = self.member.tiling, self._description.heads
        arrays = device_arrays(self.network(0))
        if arrays is None or self.compares:
            marking = Marking.of(self._description) if self.compares else None
            return Stitcher(
                tiling, heads, self._accumulation, progress, threads=self._threads, marking=marking
            )
        return GpuStitcher(tiling, heads, arrays, self._memory, self._accumulation, progress)

    def _copies(self) -> tuple[tuple[str, str], ...]:
        """Say where tiles travel to a GPU and back."""
        if not getattr(self.network(0), "on_gpu", False):
            return ()
        return (_COMPARED_ON_HOST if self.compares else _WITHOUT_CUPY,)

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

    def mask(
        self, logits: NDArray[Any], preprocessed: Preprocessed, warnings: list[tuple[str, str]] | None = None
    ) -> NDArray[Any]:
        """Decide for labels on the image's own grid, (z, y, x)."""
        vote = self.vote(logits, preprocessed)
        return self.frame(preprocessed).whole(self.label(vote, [] if warnings is None else warnings))

    def label(self, vote: Vote, warnings: list[tuple[str, str]]) -> NDArray[Any]:
        """Decide for labels on the cropped grid, where the logits lie.

        Args:
            vote: with logits in the host's or the GPU's memory.
            warnings: where a step down is added, as (code, message).
        """
        if isinstance(vote.logits, np.ndarray):
            return label_mask(vote.logits, vote.resize, self._description, threads=self._threads)
        arrays = device_arrays(self.network(0))
        assert arrays is not None, "only a GPU's stitcher leaves logits on a GPU"
        try:
            with arrays.memory():
                return gpu_label_mask(vote.logits, vote.resize, self._description, arrays)
        except OutOfDeviceMemory:  # the same labels, more slowly
            warnings.append(_LABELS_ON_HOST)
            return label_mask(arrays.host(vote.logits), vote.resize, self._description, threads=self._threads)
