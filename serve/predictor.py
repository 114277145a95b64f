"""A case in, an honest answer out: read, contract, segment, measure, state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .answer import (
    Answer,
    Distribution,
    Empty,
    EmptyMeaning,
    EmptyReason,
    Manifest,
    Outcome,
    Warning_,
)
from .approximations import Approximations, ConstantTiles, counted, reuse_warning
from .course import Course, Engine, StagedEngine
from .errors import Code, Refusal
from .formats import Case, Limits, read_image
from .outputs import mean_probabilities
from .pipeline.segment import Segmentation, Segmenter, Votes
from .policies import OOD_SUPPRESSED, EmptyPolicy, Policies
from .problems import problem_of
from .result_files import Prediction, ResultFiles, Written, check_output
from .safety.candidates import candidates
from .safety.contract import check_contract, memory_needed
from .safety.judging import Examiner, Judge
from .safety.quality import quality_of
from .safety.scores.observation import observe_image
from .safety.uncertainty import uncertainty_maps
from .safety.verdict import DOUBTFUL, contract_breach
from .statement import Ground, state
from .versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from .backends import Backend, PrecisionChoice, TileNetwork
    from .bundle import Bundle
    from .image import Image
    from .safety.calibration import Calibration
    from .safety.candidates import LabelCandidates
    from .safety.presence_section import PresenceSection
    from .safety.quality_section import QualitySection
    from .statement import Statement

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
                return self._answered(course, course.image, found, made)
        assert course.breach is not None, "else it was answered"
        return Prediction(self._rejected(course, course.breach), None, course.image)

    def rejection(self, case: str, refusal: Refusal) -> Answer:
        """Answer a case that was refused before there was an image, such as one with a channel missing."""
        return self._rejected(Course(case), refusal)

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
        return None if self.calibration is None else self.calibration.presence

    @property
    def quality(self) -> QualitySection | None:
        """What the calibration knows of the quality."""
        return None if self.calibration is None else self.calibration.quality

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

    def _rejected(self, course: Course, refusal: Refusal) -> Answer:
        blank = Empty(reason=EmptyReason.INPUT_BLANK, meaning=EmptyMeaning.NO_DECISION)
        return Answer(
            case=course.case,
            outcome=Outcome.REJECTED,
            distribution=contract_breach(refusal) if refusal.is_contract_breach else Distribution(),
            empty=blank if refusal.code is Code.CONTRACT_BLANK else None,
            problem=problem_of(refusal),
            warnings=tuple(course.warnings),
            manifest=self._manifest(course),
        )

    def _answered(self, course: Course, image: Image, votes: Any, made: Segmentation) -> Prediction:
        """Decide and state; the votes are a ``Segmenter``'s, or nothing is known of them."""
        course.spend(made.timings)
        course.warnings += [Warning_(code=code, message=text) for code, text in made.warnings]
        course.begin()
        known = votes if isinstance(votes, Votes) else None
        distribution = self._judged(course, image, made)
        ground = Ground(
            image,
            made,
            self.bundle.description,
            policies=course.policies,
            verdict=distribution.verdict,
            is_doubtful=distribution.verdict in DOUBTFUL
            or any(warning.code.endswith("_unusual") for warning in course.warnings),
            candidates=self._candidates(known, made, image),
            presence=self.presence,
            limits=[*self._limits(), *self._elsewhere()],
        )
        stated = state(ground)
        course.stage("measure")
        maps = self._maps(course, known, stated)
        answer = Answer(
            case=course.case,
            outcome=stated.outcome,
            spacing=None if image.geometry.dimension == 2 else image.spacing,
            distribution=distribution,
            labels=stated.labels,
            empty=stated.empty,
            problem=stated.problem,
            guarantee=stated.guarantee,
            policy=stated.policy,
            quality=quality_of(self.quality, ground.candidates, stated, maps),
            warnings=(*course.warnings, *stated.warnings),
            manifest=self._manifest(course, made),
        )
        return Prediction(answer, stated.mask, image, stated.raw, maps, self._probabilities(course, known))

    def _judged(self, course: Course, image: Image, made: Segmentation) -> Distribution:
        """Say whether the image is like the known ones, where there is a calibration."""
        if self.judge is None or course.seen is None or made.seen is None:
            return Distribution()
        distribution = self.judge.judge(image, course.seen, made, self._limits())
        course.stage("safety")
        return distribution

    def _limits(self) -> list[str]:
        """Why the calibration's promises hold only approximately for what this predictor does."""
        limits = [warning.message for warning in self._approximate]
        if self.calibration is not None and self.engine.precision != self.calibration.precision:
            limits.append(f"The networks ran in {self.engine.precision}, the calibration's did not.")
        return limits

    def _elsewhere(self) -> list[str]:
        """Say that a site's overlay knows nothing of presence."""
        stored = self.bundle.calibration
        if stored is None or stored.site is None:
            return []
        return [f"Presence was calibrated with other cases than those of {stored.site.name}."]

    def _candidates(
        self, votes: Votes | None, made: Segmentation, image: Image
    ) -> tuple[LabelCandidates, ...]:
        if votes is None or (self.presence is None and self.quality is None):
            return ()
        return candidates(votes, made.mask, self.bundle.description, spacing=image.spacing)

    def _probabilities(self, course: Course, votes: Votes | None) -> NDArray[np.float16] | None:
        if votes is None or not course.probabilities:
            return None
        return mean_probabilities(votes, self.bundle.description, memory_bytes=self.limits.memory_bytes)

    def _maps(self, course: Course, votes: Votes | None, stated: Statement) -> dict[str, NDArray[np.uint8]]:
        """Maps of the uncertainty, where they were asked for and there is an answer that they may show."""
        is_withheld = stated.mask is None or OOD_SUPPRESSED in stated.policy.applied
        if not course.policies.uncertainty or votes is None or is_withheld:
            return {}
        maps = uncertainty_maps(votes, self.bundle.description.head)
        course.stage("uncertainty")
        return maps

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
