"""The whole road from image to mask, for one bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.backends import CallableNetwork, TileNetwork, open_network
from nnunet_losses.serve.errors import Code, Refusal

from .labels import label_mask, mask_dtype
from .preprocess import Preprocessed, preprocess
from .resample import plan_resize
from .stitch import Accumulation, Stitcher, Tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends import Backend
    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Member

    Function = Callable[[NDArray[np.float32]], NDArray[np.float32]]
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
    """

    logits: NDArray[Any]
    features: dict[str, NDArray[np.float32]]
    tiles: int
    forward_passes: int
    network_seconds: float


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask, and how it came about.

    Attributes:
        mask: (z, y, x) uint8 (uint16 from 255 foreground labels on), on the image's own grid.
        timings: seconds by stage: preprocess, network, stitch, labels.
        tiles: number of tiles.
        forward_passes: tiles times mirrorings times folds.
        features: pooled encoder features by output name, (tiles, channels).
    """

    mask: NDArray[Any]
    timings: dict[str, float]
    tiles: int
    forward_passes: int
    features: dict[str, NDArray[np.float32]]


class Segmenter:
    """Turns images into masks with one bundle, voxel for voxel as nnU-Net's predictor on a CPU does.

    Networks are opened when they are first needed and kept. One image at a time.

    Args:
        bundle: the model.
        backend: which engine; ``auto`` takes the fastest that is installed and works.
        threads: for the network; None takes the cores that this process may use.
        networks: one per fold, instead of the bundle's own: networks, or functions from a tile (1, channels,
            *patch) to its logits (1, heads, *patch).
        accumulation: ``float16`` reproduces nnU-Net; ``float32`` is more accurate.

    Raises:
        Refusal: BUNDLE_UNSUPPORTED for a bundle with several configurations.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        backend: Backend = "auto",
        threads: int | None = None,
        networks: Sequence[TileNetwork | Function] | None = None,
        accumulation: Accumulation = "float16",
    ) -> None:
        self.bundle = bundle
        self.member = _only_member(bundle)
        self._accumulation: Accumulation = accumulation
        self._open = partial(open_network, backend=backend, threads=threads)
        self._networks: dict[int, TileNetwork] = {}
        if networks is not None:
            _require_one_per_fold(len(networks), self.member)
            self._networks = {
                index: network if isinstance(network, TileNetwork) else CallableNetwork(network)
                for index, network in enumerate(networks)
            }

    @property
    def provider(self) -> str:
        """Engine that is truly in use."""
        return self.network(0).provider

    @property
    def precision(self) -> str:
        """Precision that the engine computes with."""
        return self.network(0).precision

    def network(self, fold: int) -> TileNetwork:
        """Network of a fold (by position), opened once."""
        if fold not in self._networks:
            self._networks[fold] = self._open(self.bundle.file(self.member.folds[fold].file))
        return self._networks[fold]

    def segment(self, image: Image, *, progress: Progress | None = None) -> Segmentation:
        """Segment an image.

        Args:
            image: as nnU-Net's reader returns it.
            progress: called with (tiles done, tiles to do); may raise to cancel.

        Raises:
            Refusal: where the image does not fit the model, or the network fails.
        """
        start = perf_counter()
        preprocessed = self.preprocess(image)
        prepared = perf_counter()
        stitched = self.stitch(preprocessed, progress=progress)
        predicted = perf_counter()
        mask = self.mask(stitched.logits, preprocessed)
        timings = {
            "preprocess": prepared - start,
            "network": stitched.network_seconds,
            "stitch": predicted - prepared - stitched.network_seconds,
            "labels": perf_counter() - predicted,
        }
        return Segmentation(mask, timings, stitched.tiles, stitched.forward_passes, stitched.features)

    def preprocess(self, image: Image) -> Preprocessed:
        """Bring an image into the network's space."""
        return preprocess(image, self.member)

    def tiles(self, preprocessed: Preprocessed) -> Tiles:
        """Tiles of a preprocessed image: ``tiles[i]`` is what the network gets."""
        return Tiles.cut(preprocessed.data, self.member.tiling)

    def stitch(self, preprocessed: Preprocessed, *, progress: Progress | None = None) -> Stitched:
        """Run all folds over all tiles: the logits in the network's space."""
        tiles = self.tiles(preprocessed)
        heads = self.bundle.description.heads
        stitcher = Stitcher(self.member.tiling, heads, self._accumulation, progress)
        networks = [partial(self.network, fold) for fold in range(len(self.member.folds))]
        logits = stitcher.logits(tiles, networks)
        features = {name: np.stack(values) for name, values in stitcher.features.items()}
        return Stitched(logits, features, len(tiles), stitcher.forward_passes, stitcher.network_seconds)

    def mask(self, logits: NDArray[Any], preprocessed: Preprocessed) -> NDArray[Any]:
        """Decide for labels on the image's own grid, (z, y, x)."""
        plan = self.member.preprocessing
        spacings = (preprocessed.network_spacing, preprocessed.spacing)
        resize = plan_resize(logits.shape[1:], preprocessed.cropped_shape, spacings, plan.resampling_logits)
        mask = np.zeros(preprocessed.uncropped_shape, mask_dtype(self.bundle.description))
        mask[preprocessed.box] = label_mask(logits, resize, self.bundle.description)
        return np.ascontiguousarray(mask.transpose(np.argsort(plan.transpose_forward)))


def _only_member(bundle: Bundle) -> Member:
    members = bundle.description.members
    if len(members) > 1:
        names = [member.name for member in members]
        raise Refusal(
            Code.BUNDLE_UNSUPPORTED,
            f"The bundle holds an ensemble of the configurations {', '.join(names)}; one is expected.",
            remedy="Export one configuration per bundle.",
            observed=names,
        )
    return members[0]


def _require_one_per_fold(count: int, member: Member) -> None:
    if count != len(member.folds):
        raise ValueError(f"{count} networks for {len(member.folds)} folds; give one network per fold")
