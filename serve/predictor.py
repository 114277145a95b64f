"""A case in, an honest answer out: read, contract, segment, measure, state."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .answer import (
    Answer,
    Empty,
    EmptyMeaning,
    EmptyReason,
    Manifest,
    Outcome,
    Policy,
    Problem,
    Warning_,
)
from .approximations import Approximations, ConstantTiles, counted, reuse_warning
from .bundle import file_sha256
from .course import Course, Engine, StagedEngine
from .errors import Code, Refusal
from .formats import Case, Limits, companions, read_image, write_mask, write_text
from .measure import measure_labels
from .pipeline.segment import Segmentation, Segmenter
from .safety.contract import check_contract, memory_needed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .backends import Backend, PrecisionChoice, TileNetwork
    from .bundle import Bundle
    from .image import Image
    from .schema import ModelDescription

    Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What ``Predictor.predict`` returns.

    Attributes:
        answer: the statement; ``manifest.mask_sha256`` is filled where the mask is written to a file.
        mask: integers (z, y, x) on the image's own grid; None for a rejected image.
        image: what was read; None where the channels do not make one image.
    """

    answer: Answer
    mask: NDArray[Any] | None = None
    image: Image | None = None


@dataclass(frozen=True)
class Written:
    """Files of one answered case. A rejected case has no mask."""

    answer: Answer
    answer_file: Path
    mask_file: Path | None


class Predictor:
    """Answers cases with one bundle. One case at a time at the networks; see ``Batch`` for many.

    Args:
        bundle: the model.
        backend: engine, see ``open_network``.
        precision: of the network; ``auto`` reduces it only by proof, see ``NetworkOpener``.
        threads: for the network; None takes all allowed cores.
        limits: budgets for files and memory.
        approximations: what to give up for speed; nothing by default.
        engine: instead of the bundle's networks.

    Example:
        >>> from pathlib import Path
        >>> from nnunet_losses.serve.bundle import Bundle
        >>> predictor = Predictor(Bundle.load("liver.bundle"))  # doctest: +SKIP
        >>> predictor.predict(Case("patient", (Path("ct.nii.gz"),))).answer.outcome  # doctest: +SKIP
        <Outcome.SEGMENTED: 'segmented'>
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        backend: Backend = "auto",
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        approximations: Approximations = Approximations(),  # noqa: B008 - frozen
        engine: Engine | None = None,
    ) -> None:
        self.bundle = approximations.applied_to(bundle)
        self.limits = limits
        self._approximate = approximations.warnings(bundle)
        self._constant: list[ConstantTiles] = []
        self.engine = engine or Segmenter(
            self.bundle,
            backend=backend,
            precision=precision,
            threads=threads,
            around=self._without_background if approximations.skip_background else lambda network: network,
        )

    def predict(self, case: Case, *, progress: Progress | None = None) -> Prediction:
        """Answer one case.

        Args:
            case: name and files, in the channels' order.
            progress: called with (tiles done, tiles to do); may raise to cancel.

        Returns:
            The answer and the mask. An image that is not what the model was made for gets an answer, too: the
            outcome ``rejected`` with its problem, and no mask.

        Raises:
            Refusal: for files that cannot be read or trusted, and for engines that fail.
        """
        course = self.prepare(case)
        self.infer(course, progress=progress)
        return self.conclude(course)

    def prepare(self, case: Case, *, admit: Callable[[int], None] | None = None) -> Course:
        """First part of ``predict``: read, examine, preprocess. The parts of several cases may overlap.

        Args:
            case: name and files.
            admit: called with the bytes that the case will need, once these are known; may wait.

        Raises:
            Refusal: for files that cannot be read or trusted.
        """
        course = Course(case.name)
        with course.watched():
            self._read(case, course)
            assert course.image is not None, "just read"
            if admit is not None:
                admit(memory_needed(course.image, self.bundle.description))
                course.begin()
            self._examine(course, course.image)
            if isinstance(self.engine, StagedEngine):
                course.prepared = self.engine.prepare(course.image)
                course.stage("preprocess")
        return course

    def infer(self, course: Course, *, progress: Progress | None = None) -> None:
        """Second part of ``predict``: run the networks, one case at a time.

        Raises:
            Refusal: for engines that fail.
        """
        if course.breach is not None:
            return
        assert course.image is not None, "prepared before"
        before = counted(self._constant)
        with course.watched():
            if isinstance(self.engine, StagedEngine):
                prepared, course.prepared = course.prepared, None
                course.found = self.engine.vote(course.image, progress=progress, prepared=prepared)
            else:
                course.found = self.engine.segment(course.image, progress=progress)
        reuse = reuse_warning(self._constant, before)
        course.warnings += [*self._approximate, *([] if reuse is None else [reuse])]

    def _without_background(self, network: TileNetwork) -> TileNetwork:
        self._constant.append(ConstantTiles(network))
        return self._constant[-1]

    def conclude(self, course: Course) -> Prediction:
        """Last part of ``predict``: decide for labels, measure, state.

        Raises:
            Refusal: where the memory does not suffice.
        """
        with course.watched():
            if course.breach is None:
                assert course.image is not None, "prepared before"
                found, course.found = course.found, None
                made = self.engine.conclude(found) if isinstance(self.engine, StagedEngine) else found
                return Prediction(self._answered(course, course.image, made), made.mask, course.image)
        assert course.breach is not None, "else it was answered"
        return Prediction(self._rejected(course, course.breach), None, course.image)

    def rejection(self, case: str, refusal: Refusal) -> Answer:
        """Answer a case that was refused before there was an image, such as one with a channel missing."""
        return self._rejected(Course(case), refusal)

    def predict_to_folder(self, case: Case, folder: Path, *, progress: Progress | None = None) -> Written:
        """Answer one case, and write ``CASE.json`` and, unless it was rejected, the mask beside it.

        The mask has nnU-Net's name (``CASE.nii.gz``) and nnU-Net's bytes. An older mask, answer or problem of
        the same case vanishes first, so that no file can be taken for the new answer's.

        Raises:
            Refusal: as ``predict``.
            ValueError: where the mask would overwrite an input file.
            OSError: where the folder cannot be written to.
        """
        self.make_room(case, folder)
        return self.write(self.predict(case, progress=progress), folder)

    def make_room(self, case: Case, folder: Path) -> None:
        """Make the folder, and remove an earlier run's files of the case from it.

        Raises:
            ValueError: where the mask would overwrite an input file.
            OSError: where the folder cannot be written to.
        """
        check_output(case, folder, self.bundle.description)
        folder.mkdir(parents=True, exist_ok=True)
        self.remove_results(case.name, folder)

    def reject_to_folder(self, case: str, refusal: Refusal, folder: Path) -> Written:
        """Write the answer of a case that never became an image.

        Raises:
            Refusal: the same, where it is no breach of the contract: then there is no answer.
        """
        if not refusal.is_contract_breach:
            raise refusal
        folder.mkdir(parents=True, exist_ok=True)
        self.remove_results(case, folder)
        return self.write(Prediction(self.rejection(case, refusal)), folder)

    def remove_results(self, case: str, folder: Path) -> None:
        """Remove an earlier run's files of a case."""
        for ending in (self.bundle.description.file_ending, ".json", ".problem.json"):
            (folder / f"{case}{ending}").unlink(missing_ok=True)

    def write(self, prediction: Prediction, folder: Path) -> Written:
        """Write a prediction's files into a folder: first the mask, then the answer, which names its hash."""
        answer, mask_file = prediction.answer, None
        description = self.bundle.description
        if prediction.mask is not None and prediction.image is not None:
            mask_file = folder / f"{answer.case}{description.file_ending}"
            geometry, began = prediction.image.geometry, perf_counter()
            write_mask(prediction.mask, mask_file, geometry=geometry, reader=description.reader)
            timings = answer.manifest.timings | {"write": round(perf_counter() - began, 4)}
            known = {"mask_sha256": file_sha256(mask_file), "timings": timings}
            answer = answer.model_copy(update={"manifest": answer.manifest.model_copy(update=known)})
        answer_file = folder / f"{answer.case}.json"
        write_text(answer.model_dump_json(indent=2) + "\n", answer_file)
        return Written(answer, answer_file, mask_file)

    def _read(self, case: Case, course: Course) -> None:
        course.image = read_image(case.files, reader=self.bundle.description.reader, limits=self.limits)
        course.warnings += [Warning_(code=code, message=text) for code, text in course.image.warnings]
        course.stage("read")

    def _examine(self, course: Course, image: Image) -> None:
        memory = self.limits.memory_bytes
        course.warnings += check_contract(image, self.bundle.description, memory_bytes=memory)
        course.stage("contract")

    def _rejected(self, course: Course, refusal: Refusal) -> Answer:
        blank = Empty(reason=EmptyReason.INPUT_BLANK, meaning=EmptyMeaning.NO_DECISION)
        return Answer(
            case=course.case,
            outcome=Outcome.REJECTED,
            empty=blank if refusal.code is Code.CONTRACT_BLANK else None,
            problem=problem_of(refusal),
            warnings=tuple(course.warnings),
            manifest=self._manifest(course),
        )

    def _answered(self, course: Course, image: Image, segmentation: Segmentation) -> Answer:
        course.spend(segmentation.timings)
        course.warnings += [Warning_(code=code, message=text) for code, text in segmentation.warnings]
        course.begin()
        labels = measure_labels(segmentation.mask, image.geometry, self.bundle.description)
        course.stage("measure")
        is_empty = not any(label.present for label in labels)
        warnings = (*course.warnings, _EMPTY_WARNING) if is_empty else tuple(course.warnings)
        return Answer(
            case=course.case,
            outcome=Outcome.EMPTY if is_empty else Outcome.SEGMENTED,
            spacing=None if image.geometry.dimension == 2 else image.spacing,
            labels=labels,
            empty=_empty(course.warnings) if is_empty else None,
            policy=_policy(segmentation),
            warnings=warnings,
            manifest=self._manifest(course, segmentation),
        )

    def _manifest(self, course: Course, segmentation: Segmentation | None = None) -> Manifest:
        ran = segmentation is not None
        return Manifest(
            model=self.bundle.description.name,
            bundle_sha256=self.bundle.sha256,
            input_sha256=None if course.image is None else course.image.sha256,
            versions=versions(),
            provider=self.engine.provider if ran else None,
            precision=self.engine.precision if ran else None,
            tiles=segmentation.tiles if segmentation is not None else 0,
            forward_passes=segmentation.forward_passes if segmentation is not None else 0,
            timings={stage: round(seconds, 4) for stage, seconds in course.timings.items()},
        )


# An empty mask of a model whose misses nobody has counted must not be taken for a healthy patient.
_EMPTY_WARNING = Warning_(
    code="answer.empty_not_calibrated",
    message=(
        "The model marked nothing. How often it overlooks something has not been measured for this bundle, "
        "so this is not evidence that there is nothing."
    ),
)


def _empty(input_warnings: Sequence[Warning_]) -> Empty:
    """An empty mask is a finding, unless the image was so unlike the training images that it says nothing."""
    doubtful = any(warning.code.endswith("_unusual") for warning in input_warnings)
    meaning = EmptyMeaning.INDETERMINATE if doubtful else EmptyMeaning.NO_FINDING
    return Empty(reason=EmptyReason.NO_VOXEL_ABOVE_THRESHOLD, meaning=meaning)


def _policy(segmentation: Segmentation) -> Policy:
    """What the bundle's postprocessing did to the mask: one entry for each step that removed something."""
    removed = [removal for removal in segmentation.removed if removal.components]
    return Policy(
        applied=tuple(removal.step.function for removal in segmentation.removed),
        removed_components=tuple(
            {"values": removal.step.values, "components": removal.components, "voxels": removal.voxels}
            for removal in removed
        ),
    )


def problem_of(refusal: Refusal) -> Problem:
    """A refusal as it stands in an answer or a problem file."""
    return Problem(
        code=refusal.code.value,
        detail=refusal.detail,
        remedy=refusal.remedy,
        observed=refusal.observed,
        expected=refusal.expected,
    )


def check_output(case: Case, folder: Path, description: ModelDescription) -> None:
    """Refuse a folder in which mask or answer would take the place of one of the case's files.

    Raises:
        ValueError: with the file's name.
    """
    inputs = {file.resolve() for file in case.files}
    if (folder / f"{case.name}{description.file_ending}").resolve() in inputs:
        raise ValueError(f"the mask of case {case.name} would overwrite its image; choose another folder")
    spacing_files = {file.resolve() for file in companions(case.files, description.reader)}
    if (folder / f"{case.name}.json").resolve() in spacing_files:
        raise ValueError(f"the answer of case {case.name} would overwrite its spacing; choose another folder")


_LIBRARIES = ("nnunet-losses", "numpy", "scipy", "SimpleITK", "nibabel", "tifffile")


@cache
def _version(distribution: str) -> str:
    return metadata.version(distribution)


def versions() -> dict[str, str]:
    """Versions of whatever took part: this package, the libraries, and the engines that are loaded."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    named = {name: _version(name) for name in _LIBRARIES}
    engines = {
        name: str(module.__version__)
        for name in ("onnxruntime", "openvino")
        if (module := sys.modules.get(name)) is not None and hasattr(module, "__version__")
    }
    return {"python": python} | named | engines
