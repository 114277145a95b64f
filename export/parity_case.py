"""One case through the bundle and through nnU-Net, compared at every stage."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.formats import read_image, read_mask
from nnunet_losses.serve.pipeline.cascade import PreviousStage
from nnunet_losses.serve.pipeline.stitch import Tiles
from nnunet_losses.serve.predictor import Predictor

from .reference import tiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nnunet_losses.serve.formats import Case
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.pipeline.segment import Segmenter
    from nnunet_losses.serve.pipeline.stage import Stage
    from nnunet_losses.serve.schema import Label

    from .reference import Reference, ReferenceCase

MARGIN = 0.1  # logits; nnU-Net's float16 sums are off by up to 0.05
PREPROCESSING_TOLERANCE = 1e-5  # share of each preprocessed channel's range
TILES_PER_CASE = 16  # evenly spaced over the case; the masks depend on all of them


@dataclass(frozen=True)
class Overlap:
    """Voxels of one label: in both masks, in nnU-Net's, in the bundle's."""

    both: int
    reference: int
    bundle: int

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.reference + other.reference, self.bundle + other.bundle)

    @property
    def differing(self) -> int:
        """Voxels that one mask has and the other has not."""
        return self.reference + self.bundle - 2 * self.both

    @property
    def dice(self) -> float:
        """Dice; 1 where the label is in neither mask.

        Example:
            >>> Overlap(2, 3, 3).dice, Overlap(0, 0, 0).dice
            (0.6666666666666666, 1.0)
        """
        total = self.reference + self.bundle
        return 2 * self.both / total if total else 1.0


@dataclass
class CaseParity:
    """What the comparison of one case found. Differences are shares of the compared values' range."""

    case: str
    preprocessing_difference: float | None = None
    tiles: int = 0
    tile_differences: dict[str, float] = field(default_factory=dict)  # by fold
    voxels: int = 0
    differing_voxels: int = 0
    differing_voxels_beyond_margin: int = 0
    identical_files: bool = False
    overlaps: dict[str, Overlap] = field(default_factory=dict)  # by label
    failures: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self) | {"dice": {name: overlap.dice for name, overlap in self.overlaps.items()}}


def compare_case(
    case: Case, segmenter: Segmenter, reference: Reference, *, tile_tolerance: float
) -> CaseParity:
    """Compare preprocessing and tiles of every member, and the masks of one case.

    A stage that the runtime refuses is a failure in the refusal's words; the other stages are still compared.

    Args:
        case: name and files.
        segmenter: the bundle's.
        reference: nnU-Net's predictors, of the same members and folds in the same order.
        tile_tolerance: allowed difference of tile logits, share of their range.

    Raises:
        Refusal: the files cannot be read.
        ExportError: nnU-Net itself fails on the case.
    """
    found = CaseParity(case.name)
    image = read_image(case.files, reader=segmenter.bundle.description.reader)
    with reference.case(case.files) as theirs:
        for name, stage in segmenter.stages.items():
            member = _MemberComparison(
                found, stage, reference.predictors[name], several=len(segmenter.stages) > 1
            )
            data, _ = theirs.network_input(name)
            with _noted(found):
                member.compare_preprocessing(image, _previous(segmenter, theirs.previous_mask(name)), data)
            with _noted(found):
                member.compare_tiles(data, tile_tolerance)
        with _noted(found):
            _compare_masks(found, case, segmenter, theirs)
    return found


def _previous(segmenter: Segmenter, mask: Path | None) -> PreviousStage | None:
    """Give what nnU-Net's previous stage found, so that the second one is compared by itself."""
    description = segmenter.bundle.description
    if mask is None:
        return None
    return PreviousStage(read_mask(mask, reader=description.reader), description.foreground_values)


@contextmanager
def _noted(found: CaseParity) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        found.failures.append(f"refused by the runtime: {refusal}")


def share_of_range(difference: float, low: float, high: float) -> float:
    """Divide a difference by a range; where there is none, by the values' size.

    Example:
        >>> share_of_range(0.5, -2, 3), share_of_range(0.5, 5, 5)
        (0.1, 0.1)
    """
    return float(difference / ((high - low) or abs(high) or 1.0))


def _channel_difference(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """Largest difference as a share of the channel's own range: one of labels goes from 0 to 1."""
    difference = float(np.abs(found - wanted).max())
    return share_of_range(difference, float(wanted.min()), float(wanted.max()))


@dataclass(frozen=True, eq=False)
class _MemberComparison:
    """One member against nnU-Net's predictor of it."""

    found: CaseParity
    stage: Stage
    predictor: Any
    several: bool

    def _title(self, what: str) -> str:
        return f"{self.stage.member.name}, {what}" if self.several else what

    def compare_preprocessing(
        self, image: Image, previous: PreviousStage | None, data: NDArray[np.float32]
    ) -> None:
        ours = self.stage.preprocess(image, previous)
        title = self._title("the preprocessed image")
        if ours.data.shape != data.shape:
            self.found.failures.append(f"{title} is {ours.data.shape}, nnU-Net's is {data.shape}")
            return
        difference = float(np.max(list(map(_channel_difference, ours.data, data))))  # NaN stays
        self.found.preprocessing_difference = max(difference, self.found.preprocessing_difference or 0.0)
        if not difference <= PREPROCESSING_TOLERANCE:
            self.found.failures.append(
                f"{title} differs by {difference:.1e} of its range, {PREPROCESSING_TOLERANCE:.0e} is allowed"
            )

    def compare_tiles(self, data: NDArray[np.float32], tolerance: float) -> None:
        cut = list(tiles(self.predictor, data))
        if list(Tiles.cut(data, self.stage.member.tiling).slices) != [slices for slices, _ in cut]:
            self.found.failures.append(self._title("the tiles lie elsewhere than nnU-Net's"))
        chosen = [cut[index][1] for index in _evenly(len(cut))]
        for index, fold in enumerate(self.stage.member.folds):
            difference = _tile_difference(self.stage.network(index), self.predictor, index, chosen)
            self.found.tile_differences[self._title(fold.name)] = difference
            self.found.tiles += len(chosen)
            if not difference <= tolerance:
                self.found.failures.append(
                    self._title(
                        f"tile logits of fold {fold.name} differ by {difference:.1e} of their range, "
                    )
                    + f"{tolerance:.0e} is allowed"
                )


def _evenly(count: int) -> Iterator[int]:
    wanted = min(count, TILES_PER_CASE)
    yield from dict.fromkeys(int(index) for index in np.linspace(0, count - 1, wanted))


def _tile_difference(network: Any, predictor: Any, fold: int, chosen: list[Any]) -> float:
    """Largest difference of a fold's tile logits, as a share of their range over the chosen tiles."""
    import torch  # noqa: PLC0415 - the command line's help must not wait for it

    predictor.network.load_state_dict(predictor.list_of_parameters[fold])
    predictor.network.eval()
    worst, low, high = 0.0, np.inf, -np.inf
    for tile in chosen:
        with torch.inference_mode():
            want = predictor.network(tile).numpy()
        got = network.run(tile.numpy()).logits
        worst = max(worst, float(np.abs(got - want).max())) if got.shape == want.shape else np.inf
        low, high = min(low, float(want.min())), max(high, float(want.max()))
    return share_of_range(worst, low, high)


def _compare_masks(found: CaseParity, case: Case, segmenter: Segmenter, theirs: ReferenceCase) -> None:
    """From files to files, on the road that ``nnunet-losses predict`` takes, and on nnU-Net's."""
    description = segmenter.bundle.description
    with TemporaryDirectory() as scratch:
        written = Predictor(segmenter.bundle, engine=segmenter).predict_to_folder(case, Path(scratch))
        if written.mask_file is None:
            found.failures.append(f"rejected by the runtime: {written.answer.problem}")
            return
        reference = theirs.mask()
        found.identical_files = reference.read_bytes() == written.mask_file.read_bytes()
        want, got = (read_mask(file, reader=description.reader) for file in (reference, written.mask_file))
    if want.shape != got.shape:
        found.failures.append(f"the mask is {got.shape}, nnU-Net's is {want.shape}")
        return
    differing = want != got
    found.voxels, found.differing_voxels = int(want.size), int(differing.sum())
    if found.differing_voxels:
        found.differing_voxels_beyond_margin = int((theirs.margins()[differing] > MARGIN).sum())
    found.overlaps = {label.name: _overlap(label, want, got) for label in description.labels}


def _overlap(label: Label, want: NDArray[np.int64], got: NDArray[np.int64]) -> Overlap:
    one, two = np.isin(want, label.members), np.isin(got, label.members)
    return Overlap(int((one & two).sum()), int(one.sum()), int(two.sum()))
