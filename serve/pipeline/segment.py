"""The whole road from image to mask, for one bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.backends import CallableNetwork, NetworkOpener, TileNetwork

from .cascade import PreviousStage
from .ensemble import Vote, average_mask, decision_margins
from .postprocess import Removal, postprocess
from .stage import Frame, Stage, Stitched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends import Backend, PrecisionChoice
    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Member

    from .preprocess import Preprocessed
    from .stitch import Accumulation, Tiles

    Function = Callable[[NDArray[np.float32]], NDArray[np.float32]]
    Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask, and how it came about.

    Attributes:
        mask: (z, y, x) uint8 (uint16 from 255 foreground labels on), on the image's own grid.
        timings: seconds by stage: preprocess, network, stitch, labels, and postprocess where there is any.
        tiles: number of tiles, over all members.
        forward_passes: tiles times mirrorings times folds.
        features: pooled encoder features by output name, (tiles, channels), of the first member's first fold.
        removed: what postprocessing took away.
        raw: the mask before that, where it was asked for and postprocessing follows.
        warnings: codes and messages about the precision, and about what an engine had to do without.
        fold_features: the same features of all of its folds.
        seen: what ``Segmenter.look`` returned.
        doubts: for each of the first member's folds, how far its passes agree, where that was asked for.
    """

    mask: NDArray[Any]
    timings: dict[str, float]
    tiles: int
    forward_passes: int
    features: dict[str, NDArray[np.float32]]
    removed: tuple[Removal, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    fold_features: tuple[dict[str, NDArray[np.float32]], ...] = ()
    seen: Any = None
    raw: NDArray[Any] | None = None
    doubts: tuple[dict[str, float], ...] = ()

    @property
    def before_removal(self) -> NDArray[Any]:
        """The mask before postprocessing, as far as that was kept."""
        return self.mask if self.raw is None else self.raw


@dataclass(eq=False)
class Votes:
    """What the members say about an image, and what it took.

    Attributes:
        votes: of the averaged members, by name; the first member's comes first.
        frame: where the cropped grid lies, in the first vote's axis order.
        timings, tiles, forward_passes, warnings, seen, doubts: as in ``Segmentation``.
        features: as its ``fold_features``.
        keep_raw: whether the mask is to be kept as it is before postprocessing.
        raw: that mask, where postprocessing follows.
    """

    votes: dict[str, Vote] = field(default_factory=dict)
    frame: Frame | None = None
    timings: dict[str, float] = field(default_factory=dict)
    tiles: int = 0
    forward_passes: int = 0
    features: tuple[dict[str, NDArray[np.float32]], ...] = ()
    seen: Any = None
    warnings: list[tuple[str, str]] = field(default_factory=list)
    keep_raw: bool = False
    raw: NDArray[Any] | None = None
    doubts: tuple[dict[str, float], ...] = ()

    def spend(self, stage: str, seconds: float) -> None:
        """Add to a stage's time."""
        self.timings[stage] = self.timings.get(stage, 0.0) + seconds


class Segmenter:
    """Turns images into masks with one bundle, voxel for voxel as nnU-Net's predictor on a CPU does.

    Of an ensemble, the members run one after the other; what is kept of each are its logits in its network's
    space (float16). Of a cascade, the previous stage runs first, and its mask is kept.

    Networks are opened when they are first needed and kept. One image at a time.

    Args:
        bundle: the model.
        backend: which engine; ``auto`` takes the fastest that is installed and works.
        precision: ``auto`` reduces it only where the bundle holds the proof that this does no harm.
        threads: of the CPU; None takes the cores that this process may use.
        networks: one per fold, instead of the bundle's own, member after member: networks, or functions from
            a tile (1, channels, *patch) to its logits (1, heads, *patch).
        accumulation: ``float16`` reproduces nnU-Net; ``float32`` is more accurate.
        around: what is put around every network once it is opened.
        look: is shown each image as the first member's network gets it, before the network runs.

    Attributes:
        bundle: the model.
        stages: its members by name, in the bundle's order.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        backend: Backend = "auto",
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        networks: Sequence[TileNetwork | Function] | None = None,
        accumulation: Accumulation = "float16",
        around: Callable[[TileNetwork], TileNetwork] = lambda network: network,
        look: Callable[[Preprocessed], Any] | None = None,
    ) -> None:
        self.bundle = bundle
        self.look = look
        members = bundle.description.members
        given = None if networks is None else _by_member(networks, members)
        self._open = NetworkOpener(bundle, backend=backend, precision=precision, threads=threads)

        def network(member: Member, fold: int) -> TileNetwork:
            return around(self._open(member, fold) if given is None else given[member.name][fold])

        self.stages = {
            member.name: Stage(member, bundle.description, partial(network, member), accumulation, threads)
            for member in members
        }

    def compare_passes(self) -> None:
        """From now on also measure how far the first member's mirrored passes and folds agree: ``doubts``."""
        self.first.compares = True

    @property
    def first(self) -> Stage:
        """Stage of the bundle's first member, which is one of those that make the answer."""
        return self.stages[self.bundle.description.members[0].name]

    @property
    def member(self) -> Member:
        """The bundle's first member."""
        return self.first.member

    @property
    def provider(self) -> str:
        """Engine that is truly in use."""
        return self.network(0).provider

    @property
    def precision(self) -> str:
        """Precision that the engine computes with."""
        return self.network(0).precision

    def network(self, fold: int) -> TileNetwork:
        """Network of a fold of the first member (by position), opened once."""
        return self.first.network(fold)

    def segment(self, image: Image, *, progress: Progress | None = None) -> Segmentation:
        """Segment an image.

        Args:
            image: as nnU-Net's reader returns it.
            progress: called with (tiles done, tiles to do); may raise to cancel.

        Raises:
            Refusal: where the image does not fit the model, or the network fails.
        """
        return self.conclude(self.vote(image, progress=progress))

    def prepare(self, image: Image) -> Preprocessed | None:
        """Do what can be done before it is the image's turn at the networks; for ``vote``."""
        return None if self.member.previous_stage is not None else self.first.preprocess(image)

    def vote(
        self, image: Image, *, progress: Progress | None = None, prepared: Preprocessed | None = None
    ) -> Votes:
        """Run all members: what each says about an image. Arguments and errors are those of ``segment``."""
        return _Election(self, image, progress, prepared).hold()

    def conclude(self, found: Votes) -> Segmentation:
        """Make a segmentation of what the members said."""
        mask, removed = self.decide(found)
        warnings = (*self._open.warnings, *found.warnings)
        return Segmentation(
            mask,
            found.timings,
            found.tiles,
            found.forward_passes,
            found.features[0] if found.features else {},
            removed,
            warnings,
            fold_features=found.features,
            seen=found.seen,
            raw=found.raw,
            doubts=found.doubts,
        )

    def decide(self, found: Votes) -> tuple[NDArray[Any], tuple[Removal, ...]]:
        """Make a mask (z, y, x) of what the members said, postprocessed; and say what that removed."""
        start = perf_counter()
        assert found.frame is not None, "votes have a frame"
        description, votes = self.bundle.description, list(found.votes.values())
        if len(votes) == 1:
            cropped = self.stages[next(iter(found.votes))].label(votes[0], found.warnings)
        else:
            cropped = average_mask([vote.on_host() for vote in votes], description)
        mask = found.frame.whole(cropped)
        found.spend("labels", perf_counter() - start)
        if not description.postprocessing:
            return mask, ()
        start = perf_counter()
        found.raw = mask.copy() if found.keep_raw else None
        mask, removed = postprocess(mask, description.postprocessing)
        found.spend("postprocess", perf_counter() - start)
        return mask, removed

    def margins(self, found: Votes) -> NDArray[np.float32]:
        """Distance of each voxel (z, y, x) from another decision, in logits; infinite outside the crop."""
        assert found.frame is not None, "votes have a frame"
        cropped = decision_margins([vote.on_host() for vote in found.votes.values()], self.bundle.description)
        return found.frame.whole(cropped, fill=np.inf)

    def preprocess(self, image: Image, previous: PreviousStage | None = None) -> Preprocessed:
        """Bring an image into the first member's network's space."""
        return self.first.preprocess(image, previous)

    def tiles(self, preprocessed: Preprocessed) -> Tiles:
        """Tiles of an image that was preprocessed for the first member."""
        return self.first.tiles(preprocessed)

    def stitch(self, preprocessed: Preprocessed, *, progress: Progress | None = None) -> Stitched:
        """Run the first member's folds over all tiles: the logits in the network's space."""
        return self.first.stitch(preprocessed, progress=progress)

    def mask(self, logits: NDArray[Any], preprocessed: Preprocessed) -> NDArray[Any]:
        """Decide by the first member's logits alone, on the image's own grid, (z, y, x)."""
        return self.first.mask(logits, preprocessed)


class _Election:
    """One image's way through all members: each runs once, also where two others need it."""

    def __init__(
        self, segmenter: Segmenter, image: Image, progress: Progress | None, prepared: Preprocessed | None
    ) -> None:
        self._segmenter = segmenter
        self._image = image
        self._progress = progress
        self._prepared = prepared
        self._done = self._total = 0
        self._masks: dict[str, NDArray[Any]] = {}
        self.found = Votes()

    def hold(self) -> Votes:
        for member in self._segmenter.bundle.description.averaged_members:
            if member.name not in self.found.votes:
                self._run(member)
        averaged = self._segmenter.bundle.description.averaged_members
        self.found.votes = {member.name: self.found.votes[member.name] for member in averaged}
        return self.found

    def _run(self, member: Member) -> None:
        previous = self._previous(member)
        stage, found, start = self._segmenter.stages[member.name], self.found, perf_counter()
        if stage is self._segmenter.first and self._prepared is not None:
            preprocessed, self._prepared = self._prepared, None
        else:
            preprocessed = stage.preprocess(self._image, previous)
        found.spend("preprocess", perf_counter() - start)
        if stage is self._segmenter.first and self._segmenter.look is not None:
            start = perf_counter()
            found.seen = self._segmenter.look(preprocessed)
            found.spend("safety", perf_counter() - start)
        start = perf_counter()
        stitched = stage.stitch(preprocessed, progress=self._counter(stage, preprocessed))
        found.spend("network", stitched.network_seconds)
        found.spend("stitch", perf_counter() - start - stitched.network_seconds)
        found.tiles += stitched.tiles
        found.warnings += stitched.warnings
        found.forward_passes += stitched.forward_passes
        if member.averaged:
            found.votes[member.name] = stage.vote(stitched.logits, preprocessed)
        if stage is self._segmenter.first:
            found.features, found.frame = stitched.features, stage.frame(preprocessed)
            found.doubts = stitched.doubts
        if self._precedes(member):
            start = perf_counter()
            self._masks[member.name] = stage.mask(stitched.logits, preprocessed, found.warnings)
            found.spend("labels", perf_counter() - start)

    def _previous(self, member: Member) -> PreviousStage | None:
        description = self._segmenter.bundle.description
        if member.previous_stage is None:
            return None
        if member.previous_stage not in self._masks:
            self._run(description.member(member.previous_stage))
        return PreviousStage(self._masks[member.previous_stage], description.foreground_values)

    def _precedes(self, member: Member) -> bool:
        others = self._segmenter.bundle.description.members
        return any(other.previous_stage == member.name for other in others)

    def _counter(self, stage: Stage, preprocessed: Preprocessed) -> Progress | None:
        """Count this member's tiles on top of those before it."""
        report = self._progress
        if report is None:
            return None
        forward = stage.member.preprocessing.transpose_forward
        cropped = [preprocessed.cropped_shape[forward.index(axis)] for axis in range(3)]
        stages = self._segmenter.stages.values()
        self._total = self._total or sum(stage.steps(cropped, self._image.spacing) for stage in stages)
        before = self._done
        self._done += stage.steps(cropped, self._image.spacing)
        return lambda done, _: report(before + done, self._total)


def _by_member(
    networks: Sequence[TileNetwork | Function], members: Sequence[Member]
) -> dict[str, list[TileNetwork]]:
    """Give every member its folds' networks."""
    folds = sum(len(member.folds) for member in members)
    if len(networks) != folds:
        raise ValueError(f"{len(networks)} networks for {folds} folds; give one network per fold")
    left = [network if isinstance(network, TileNetwork) else CallableNetwork(network) for network in networks]
    return {member.name: [left.pop(0) for _ in member.folds] for member in members}
