"""A case in, an honest answer out: read, contract, segment, measure, state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .answer import Warning_
from .answering import Answerer
from .approximations import Approximations, ConstantTiles, counted, reuse_warning
from .course import Course, Engine, StagedEngine
from .formats import Case, Limits, read_image
from .pipeline.segment import Segmenter, Votes
from .policies import EmptyPolicy, Policies
from .result_files import Prediction, ResultFiles, Written, check_output
from .safety.contract import check_contract, memory_needed
from .safety.judging import Examiner, Judge
from .safety.scores.observation import observe_image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .answer import Answer
    from .backends import Backend, PrecisionChoice, TileNetwork
    from .bundle import Bundle
    from .errors import Refusal
    from .image import Image
    from .safety.calibration import Calibration
    from .safety.presence_section import PresenceSection
    from .safety.quality_section import QualitySection

    Progress = Callable[[int, int], None]
    ReadFiles = Callable[..., Image]  # as read_image


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
        policies: for strange images and empty masks, where a case brings none of its own.
        read: instead of ``read_image``, for example one that does it in another process.
        observe: look at images as a calibration does, also where there is none yet.
        orientation: of the training images, where the bundle does not say it; for DICOM series.
        networks: already opened ones, member after member, instead of the bundle's files.

    Example:
        >>> from pathlib import Path
        >>> from nnunet_losses.serve.bundle import Bundle
        >>> predictor = Predictor(Bundle.load("liver.bundle"))  # doctest: +SKIP
        >>> predictor.predict(Case("patient", (Path("ct.nii.gz"),))).answer.outcome  # doctest: +SKIP
        <Outcome.SEGMENTED: 'segmented'>
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, and all but one have a usual value
        self,
        bundle: Bundle,
        *,
        backend: Backend = "auto",
        precision: PrecisionChoice = "auto",
        threads: int | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        approximations: Approximations = Approximations(),  # noqa: B008 - frozen
        engine: Engine | None = None,
        policies: Policies = Policies(),  # noqa: B008 - frozen
        read: ReadFiles | None = None,
        observe: bool = False,
        orientation: str | None = None,
        networks: Sequence[TileNetwork] | None = None,
    ) -> None:
        self.bundle = approximations.applied_to(bundle)
        self.limits = limits
        self.policies = policies
        self.calibration: Calibration | None = (
            None if bundle.calibration is None else bundle.calibration.calibration
        )
        self.examiner = Examiner(self.bundle.description)
        self.judge = Judge.of(bundle.calibration, self.examiner)
        self._observes = observe or self.judge is not None
        self._read_files = read or read_image
        self.orientation = orientation or bundle.description.orientation
        self._approximate = approximations.warnings(bundle)
        self._constant: list[ConstantTiles] = []
        self.engine = engine or Segmenter(
            self.bundle,
            backend=backend,
            precision=precision,
            threads=threads,
            networks=networks,
            around=self._without_background if approximations.skip_background else lambda network: network,
            look=self.examiner.look if self._observes else None,
        )
        if self.judge is not None and self.judge.compares:
            self.compare_passes()

    def compare_passes(self) -> None:
        """From now on also observe how far passes agree, as ``calibrate --disagreement`` wants it."""
        if isinstance(self.engine, Segmenter):
            self.engine.compare_passes()

    def predict(
        self, case: Case, *, progress: Progress | None = None, policies: Policies | None = None
    ) -> Prediction:
        """Answer one case.

        Args:
            case: name and files, in the channels' order.
            progress: called with (tiles done, tiles to do); may raise to cancel.
            policies: of this case; None takes the predictor's.

        Returns:
            The answer and the mask. An image that is not what the model was made for gets an answer, too: the
            outcome ``rejected`` with its problem, and no mask.

        Raises:
            Refusal: for files that cannot be read or trusted, and for engines that fail.
        """
        course = self.prepare(case, policies=policies)
        self.infer(course, progress=progress)
        return self.conclude(course)

    def prepare(
        self,
        case: Case,
        *,
        admit: Callable[[int], None] | None = None,
        policies: Policies | None = None,
    ) -> Course:
        """First part of ``predict``: read, examine, preprocess. The parts of several cases may overlap.

        Args:
            case: name and files.
            admit: called with the bytes that the case will need, once these are known; may wait.
            policies: of this case; None takes the predictor's.

        Raises:
            Refusal: for files that cannot be read or trusted.
        """
        course = Course(case.name, policies=policies or self.policies)
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
                if isinstance(found, Votes):
                    found.keep_raw = course.policies.empty is EmptyPolicy.RAW
                made = self.engine.conclude(found) if isinstance(self.engine, StagedEngine) else found
                return self._answerer.answered(course, course.image, found, made)
        assert course.breach is not None, "else it was answered"
        return Prediction(self._answerer.rejected(course, course.breach), None, course.image)

    def rejection(self, case: str, refusal: Refusal) -> Answer:
        """Answer a case that was refused before there was an image, such as one with a channel missing."""
        return self._answerer.rejected(Course(case), refusal)

    def predict_to_folder(
        self,
        case: Case,
        folder: Path,
        *,
        progress: Progress | None = None,
        policies: Policies | None = None,
    ) -> Written:
        """Answer one case, and write ``CASE.json`` and, unless it was rejected, the mask beside it.

        The mask has nnU-Net's name (``CASE.nii.gz``) and nnU-Net's bytes. An older mask, answer or problem of
        the same case vanishes first, so that no file can be taken for the new answer's.

        Raises:
            Refusal: as ``predict``.
            ValueError: where the mask would overwrite an input file.
            OSError: where the folder cannot be written to.
        """
        self.make_room(case, folder)
        return self.write(self.predict(case, progress=progress, policies=policies), folder)

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
        ResultFiles(folder, self.bundle.description).remove(case)

    def write(self, prediction: Prediction, folder: Path) -> Written:
        """Write a prediction's files into a folder: first the mask, then the answer, which names its hash."""
        return ResultFiles(folder, self.bundle.description).write(prediction)

    @property
    def presence(self) -> PresenceSection | None:
        """What the calibration knows of presence."""
        return self._answerer.presence

    @property
    def quality(self) -> QualitySection | None:
        """What the calibration knows of the quality."""
        return self._answerer.quality

    def _read(self, case: Case, course: Course) -> None:
        description, orientation = self.bundle.description, self.orientation
        course.image = self._read_files(case.files, description.reader, self.limits, orientation=orientation)
        course.warnings += [Warning_(code=code, message=text) for code, text in course.image.warnings]
        course.stage("read")

    def _examine(self, course: Course, image: Image) -> None:
        course.warnings += check_contract(
            image,
            self.bundle.description,
            memory_bytes=self.limits.memory_bytes,
            hints=self.judge is None,
        )
        course.stage("contract")
        if self._observes:
            course.seen = observe_image(image)
            course.stage("safety")

    @property
    def _answerer(self) -> Answerer:
        return Answerer(
            self.bundle,
            self.engine,
            calibration=self.calibration,
            judge=self.judge,
            approximate=self._approximate,
            memory_bytes=self.limits.memory_bytes,
        )
