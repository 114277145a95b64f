"""A reduced precision for a bundle, kept only with the proof that it does no harm on the user's images."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.bundle import DESCRIPTION, SUMS, Bundle, file_sha256, write_sums
from nnunet_losses.serve.bundle_writing import link_or_copy
from nnunet_losses.serve.formats import Incomplete, find_cases, read_mask
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.schema import Evidence, Precision, Variant, VariantFile
from nnunet_losses.serve.versions import versions

from .bundle_files import whole_or_nothing
from .errors import ExportError, VariantRefused
from .evidence import AGREEMENT_REQUIRED, DROP_ALLOWED, Comparison, failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends import TileNetwork, TileOutput
    from nnunet_losses.serve.formats import Case

    Progress = Callable[[str], None]

_TIMED_RUNS = 5
CALIBRATION_TILES = 24  # per network, from which int8 takes the range of every layer
PRECISIONS = {"bf16": Precision.BFLOAT16, "fp16": Precision.FLOAT16, "int8": Precision.INT8}


@dataclass(frozen=True)
class Images:
    """The user's images, with reference labels where there are some.

    Attributes:
        cases: complete cases.
        labels: folder with ``CASE.nii.gz`` (or the model's own ending) for every case; None for no reference.
    """

    cases: tuple[Case, ...]
    labels: Path | None = None

    def truth(self, case: Case, bundle: Bundle) -> NDArray[np.int64] | None:
        """Reference labels of a case."""
        if self.labels is None:
            return None
        description = bundle.description
        return read_mask(self.labels / f"{case.name}{description.file_ending}", reader=description.reader)


def add_variant(
    bundle_path: str | Path,
    precision: Precision,
    images: Sequence[str | Path],
    *,
    labels: str | Path | None = None,
    force: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Variant:
    """Add a reduced precision to a bundle, with its evidence; an older one of the same precision is replaced.

    Every image is segmented in float32 and in the reduced precision, with whatever engine is the fastest
    here. The bundle stays as it was where the evidence fails.

    Args:
        bundle_path: folder or zip.
        precision: bfloat16 needs no file (OpenVINO reduces the float32 one); float16 and int8 get one per
            fold.
        images: folders and files, named as nnU-Net names them; none of them should have been trained on.
        labels: folder with reference labels, named as nnU-Net names them. Without them, the loss of Dice is
            taken against the float32 masks.
        force: keep it although the evidence fails; then every answer that uses it says so, and ``auto`` never
            takes it.
        threads: of the CPU; None takes the cores that this process may use.
        progress: called with a sentence before every step.

    Returns:
        The variant as it was stored.

    Raises:
        VariantRefused: a label lost more than 0.001 Dice, agrees too little with float32, or is in no image.
        ExportError: the images or the labels are incomplete, or the bundle cannot be replaced.
        Refusal: the bundle or an image cannot be read, or no engine here computes in the precision.
    """
    report = progress or (lambda _: None)
    bundle = Bundle.load(bundle_path)
    with _copy(Path(bundle_path), bundle) as folder:
        found = _images(bundle, images, labels)
        work = _Measurement(bundle, folder, found, precision, threads, report)
        variant = work.variant()
        if not variant.evidence.passed and not force:
            raise VariantRefused(variant)
        variant = variant.model_copy(update={"forced": not variant.evidence.passed})
        _store(bundle, folder, variant)
        Bundle.load(folder)
    return variant


class _Recorder:
    """A network that keeps an even sample of the tiles that it is given: calibration data for int8."""

    def __init__(self, network: TileNetwork, seed: int) -> None:
        self._network = network
        self._random = np.random.default_rng(seed)
        self._seen = 0
        self.provider, self.precision = network.provider, network.precision
        self.tiles: list[NDArray[np.float32]] = []

    def run(self, tiles: NDArray[np.float32]) -> TileOutput:
        """Run the network itself."""
        for index in range(len(tiles)):
            self._keep(tiles[index : index + 1])
        return self._network.run(tiles)

    def _keep(self, tile: NDArray[np.float32]) -> None:
        """Reservoir sampling: every tile has the same chance to stay."""
        self._seen += 1
        if len(self.tiles) < CALIBRATION_TILES:
            self.tiles.append(tile.copy())
            return
        place = int(self._random.integers(self._seen))
        if place < CALIBRATION_TILES:
            self.tiles[place] = tile.copy()


@dataclass
class _Measurement:
    """One precision on all images."""

    bundle: Bundle
    folder: Path  # of the new bundle
    images: Images
    precision: Precision
    threads: int | None
    report: Progress

    def variant(self) -> Variant:
        """Make the files, and measure."""
        # before hours of work: is there an engine for it?
        if self.precision is Precision.BFLOAT16:
            _ = self._reduced(()).provider
        with TemporaryDirectory() as scratch:
            masks = Path(scratch)
            plain = Segmenter(self.bundle, precision="float32", threads=self.threads)
            files = self._files(self._float32(plain, masks))
            reduced = self._reduced(files)
            comparison = self._compare(reduced, masks)
            self.report("Measuring the speed")
            seconds = tile_seconds(plain, reduced)
            evidence = self._evidence(comparison, (plain.provider, reduced.provider), seconds)
            return Variant(precision=self.precision, files=files, evidence=evidence)

    def _float32(self, plain: Segmenter, masks: Path) -> list[_Recorder]:
        """Segment all images in float32, and keep the masks; the tiles that the networks saw."""
        networks = [
            stage.network(fold) for stage in plain.stages.values() for fold in range(len(stage.member.folds))
        ]
        recorders = [_Recorder(network, seed) for seed, network in enumerate(networks)]
        segmenter = Segmenter(self.bundle, networks=recorders if self._needs_tiles else networks)
        for index, case in enumerate(self.images.cases):
            self.report(f"Segmenting {case.name} in float32")
            np.save(masks / f"{index}.npy", _mask(segmenter, case))
        return recorders

    @property
    def _needs_tiles(self) -> bool:
        return self.precision is Precision.INT8

    def _files(self, recorders: Sequence[_Recorder]) -> tuple[VariantFile, ...]:
        """Write the reduced networks; none where engines reduce the float32 files by themselves."""
        if self.precision is Precision.BFLOAT16:
            return ()
        from .variant_graphs import reduce_graph  # noqa: PLC0415 - needs onnx

        folds = [(member, fold) for member in self.bundle.description.members for fold in member.folds]
        files = []
        for (member, fold), recorder in zip(folds, recorders, strict=True):
            self.report(f"Reducing {member.name}, fold {fold.name}, to {self.precision.value}")
            name = f"{fold.file.removesuffix('.onnx')}.{self.precision.value}.onnx"
            target = self.folder / name
            target.unlink(missing_ok=True)  # it may be a link into the old bundle
            reduce_graph(self.bundle.file(fold.file), target, self.precision, recorder.tiles)
            reduced = VariantFile(member=member.name, fold=fold.name, file=name, sha256=file_sha256(target))
            files.append(reduced)
        return tuple(files)

    def _reduced(self, files: tuple[VariantFile, ...]) -> Segmenter:
        """Open the new bundle in the reduced precision."""
        write_sums(self.folder)  # a prediction names its bundle's hash
        unmeasured = self._evidence(Comparison(self.bundle.description.labels), ("", ""), (0.0, 0.0))
        variant = Variant(precision=self.precision, files=files, evidence=unmeasured)
        description = self.bundle.description.model_copy(update={"variants": (variant,)})
        return Segmenter(
            Bundle(self.folder, description), precision=self.precision.value, threads=self.threads
        )

    def _compare(self, reduced: Segmenter, masks: Path) -> Comparison:
        comparison = Comparison(self.bundle.description.labels)
        for index, case in enumerate(self.images.cases):
            self.report(f"Segmenting {case.name} in {self.precision.value}")
            truth = self.images.truth(case, self.bundle)
            try:
                comparison.add(case.name, np.load(masks / f"{index}.npy"), _mask(reduced, case), truth)
            except ValueError as error:
                raise ExportError(f"The labels do not fit: {error}.") from error
        return comparison

    def _evidence(
        self, comparison: Comparison, engines: tuple[str, str], seconds: tuple[float, float]
    ) -> Evidence:
        """What was found; engines and seconds of float32 come first."""
        labels = comparison.evidence()
        # without reference labels the drop is the loss of agreement itself, and the stricter limit
        required = AGREEMENT_REQUIRED[self.precision]
        members = self.bundle.description.members
        return Evidence(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            engine=engines[1],
            reference_engine=engines[0],
            versions=versions(),
            with_labels=self.images.labels is not None,
            cases=comparison.cases,
            voxels=comparison.voxels,
            differing_voxels=comparison.differing_voxels,
            labels=labels,
            float32_sha256={fold.file: fold.sha256 for member in members for fold in member.folds},
            drop_allowed=DROP_ALLOWED,
            agreement_required=required,
            tile_seconds_float32=seconds[0],
            tile_seconds=seconds[1],
            failures=failures(labels, required),
        )


def _mask(segmenter: Segmenter, case: Case) -> NDArray[Any]:
    """Segment a case as ``nnunet-losses predict`` does; an image that it rejects proves nothing."""
    prediction = Predictor(segmenter.bundle, engine=segmenter).predict(case)
    if prediction.mask is None:
        problem = prediction.answer.problem
        detail = "" if problem is None else f" {problem.detail}"
        raise ExportError(f"Case {case.name} is not what the model was made for.{detail} Leave it out.")
    return prediction.mask


def tile_seconds(plain: Segmenter, reduced: Segmenter) -> tuple[float, float]:
    """Seconds that the first networks need for a tile: medians of runs that take turns, as load changes."""
    member, segmenters = plain.member, (plain, reduced)
    channels = plain.bundle.description.network_channels(member)
    shape = (1, channels, *member.tiling.patch_size)
    tile = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    taken: list[list[float]] = [[] for _ in segmenters]
    for _ in range(_TIMED_RUNS + 1):
        for segmenter, seconds in zip(segmenters, taken, strict=True):
            start = perf_counter()
            segmenter.network(0).run(tile)
            seconds.append(perf_counter() - start)
    first, second = (float(np.median(seconds[1:])) for seconds in taken)  # the first run warms up
    return first, second


def _images(bundle: Bundle, images: Sequence[str | Path], labels: str | Path | None) -> Images:
    cases = []
    for case in find_cases([Path(image) for image in images], bundle.description):
        if isinstance(case, Incomplete):
            raise case.refusal
        cases.append(case)
    if not cases:
        raise ExportError("There is no image to measure with. Name a folder with images of the model's kind.")
    folder = None if labels is None else Path(labels)
    found = Images(tuple(cases), folder)
    ending = bundle.description.file_ending
    absent = [case.name for case in cases if folder and not (folder / f"{case.name}{ending}").is_file()]
    if absent:
        raise ExportError(
            f"There are no labels for {len(absent)} cases, such as {absent[0]}{ending} in {folder}. "
            "Add them, or leave --calibration-labels out."
        )
    return found


@contextmanager
def _copy(path: Path, bundle: Bundle) -> Iterator[Path]:
    """Give a copy of the bundle that takes its place when the block ends well; files are linked."""
    try:
        with whole_or_nothing(path, overwrite=True) as folder:
            ignored = shutil.ignore_patterns(DESCRIPTION, SUMS)
            shutil.copytree(
                bundle.root, folder, ignore=ignored, copy_function=link_or_copy, dirs_exist_ok=True
            )
            yield folder
    except OSError as error:
        raise ExportError(f"The variant cannot be stored in {path}: {error}.") from error


def _store(bundle: Bundle, folder: Path, variant: Variant) -> None:
    """Write the description with the variant in it, and the hashes of everything."""
    from .bundle_writer import CARD, write_description  # noqa: PLC0415 - imports nnU-Net's side

    others = (old for old in bundle.description.variants if old.precision is not variant.precision)
    (folder / CARD).unlink(missing_ok=True)  # a link into the old bundle must not be written through
    write_description(folder, bundle.description.model_copy(update={"variants": (*others, variant)}))
