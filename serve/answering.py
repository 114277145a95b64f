"""What was found in a case, put into the answer: decided, measured, stated, with where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .answer import Answer, Distribution, Empty, EmptyMeaning, EmptyReason, Manifest, Outcome, Warning_
from .errors import Code
from .outputs import mean_probabilities
from .pipeline.segment import Votes
from .policies import OOD_SUPPRESSED
from .problems import problem_of
from .result_files import Prediction
from .safety.candidates import candidates
from .safety.quality import quality_of
from .safety.uncertainty import uncertainty_maps
from .safety.verdict import DOUBTFUL, contract_breach
from .statement import Ground, state
from .versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from .answer import Verdict
    from .bundle import Bundle
    from .course import Course, Engine
    from .errors import Refusal
    from .image import Image
    from .pipeline.segment import Segmentation
    from .safety.calibration import Calibration
    from .safety.candidates import LabelCandidates
    from .safety.judging import Judge
    from .safety.presence_section import PresenceSection
    from .safety.quality_section import QualitySection
    from .statement import Statement


@dataclass(frozen=True, eq=False)
class Answerer:
    """Writes the answers of one predictor.

    Attributes:
        bundle: the model, as it is run.
        engine: what runs it.
        calibration, judge: what is known of its answers and of usual images; None where nothing is.
        approximate: what was given up for speed.
        memory_bytes: what the probabilities may need, see ``Limits``.
    """

    bundle: Bundle
    engine: Engine
    calibration: Calibration | None
    judge: Judge | None
    approximate: Sequence[Warning_]
    memory_bytes: int | None

    @property
    def presence(self) -> PresenceSection | None:
        """What the calibration knows of presence."""
        return None if self.calibration is None else self.calibration.presence

    @property
    def quality(self) -> QualitySection | None:
        """What the calibration knows of the quality."""
        return None if self.calibration is None else self.calibration.quality

    def rejected(self, course: Course, refusal: Refusal) -> Answer:
        """Answer a case that was refused; there is no mask, and no finding."""
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

    def answered(self, course: Course, image: Image, votes: Any, made: Segmentation) -> Prediction:
        """Decide and state; the votes are a ``Segmenter``'s, or nothing is known of them."""
        course.spend(made.timings)
        course.warnings += [Warning_(code=code, message=text) for code, text in made.warnings]
        course.begin()
        known = votes if isinstance(votes, Votes) else None
        distribution = self._judged(course, image, made)
        ground = self._ground(course, image, made, votes=known, verdict=distribution.verdict)
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

    def _ground(
        self, course: Course, image: Image, made: Segmentation, *, votes: Votes | None, verdict: Verdict
    ) -> Ground:
        """What the statement rests on."""
        return Ground(
            image,
            made,
            self.bundle.description,
            policies=course.policies,
            verdict=verdict,
            is_doubtful=verdict in DOUBTFUL
            or any(warning.code.endswith("_unusual") for warning in course.warnings),
            candidates=self._candidates(votes, made, image),
            presence=self.presence,
            limits=[*self._limits(), *self._elsewhere()],
        )

    def _judged(self, course: Course, image: Image, made: Segmentation) -> Distribution:
        """Say whether the image is like the known ones, where there is a calibration."""
        if self.judge is None or course.seen is None or made.seen is None:
            return Distribution()
        distribution = self.judge.judge(image, course.seen, made, self._limits())
        course.stage("safety")
        return distribution

    def _limits(self) -> list[str]:
        """Why the calibration's promises hold only approximately for what this predictor does."""
        limits = [warning.message for warning in self.approximate]
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
        return mean_probabilities(votes, self.bundle.description, memory_bytes=self.memory_bytes)

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
