"""The one way from an image under way to a verdict, for service and command line alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.answer import Distribution, Verdict
from nnunet_losses.serve.pipeline.agreement import FOLDS, MIRRORS

from .calibration import GuaranteeKind
from .scores.observing import look_at_input, observe_folds
from .scores.scorer import DOUBTS
from .unusual import unusual_tiles
from .verdict import judge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.pipeline.preprocess import Preprocessed
    from nnunet_losses.serve.pipeline.segment import Segmentation
    from nnunet_losses.serve.schema import ModelDescription

    from .distribution import DistributionModel
    from .scores.observation import Observation
    from .scores.observing import NetworkInput
    from .stored import StoredCalibration


@dataclass(frozen=True, eq=False)
class Examiner:
    """Looks at images on their way through the pipeline.

    Attributes:
        description: of the model.
    """

    description: ModelDescription

    def look(self, preprocessed: Preprocessed) -> NetworkInput:
        """For ``Segmenter.look``."""
        return look_at_input(preprocessed, self.description)

    def observe(self, image: Image, seen: Observation, segmentation: Segmentation) -> tuple[Observation, ...]:
        """Observe a case that was segmented, once for each fold of the first member.

        Args:
            image: as it was read.
            seen: the same by ``observe_image``.
            segmentation: of it, by a segmenter that looks with ``look``.
        """
        return observe_folds(seen, segmentation.seen, segmentation, self.description, image)


@dataclass(frozen=True, eq=False)
class Judge:
    """Judges images by a bundle's calibration.

    Attributes:
        examiner: of the bundle.
        model: of the calibration.
        site: name of the site whose own cases new ones are ranked against.
        known_images: hashes of the cases' files that new ones are ranked against.
    """

    examiner: Examiner
    model: DistributionModel
    site: str | None = None
    known_images: frozenset[str] = frozenset()

    @classmethod
    def of(cls, stored: StoredCalibration | None, examiner: Examiner) -> Judge | None:
        """Judge by what a bundle holds; None where nothing was calibrated.

        Raises:
            Refusal: for arrays that do not belong to the calibration.
        """
        model = None if stored is None else stored.model
        if stored is None or model is None:
            return None
        images = stored.calibration.identity.images if stored.site is None else stored.site.images
        return cls(examiner, model, None if stored.site is None else stored.site.name, frozenset(images))

    @property
    def compares(self) -> bool:
        """Whether passes and folds have to be compared, see ``pipeline.agreement``."""
        return any(name in DOUBTS for name in self.model.section.scores)

    def judge(
        self, image: Image, seen: Observation, segmentation: Segmentation, limits: Sequence[str] = ()
    ) -> Distribution:
        """Judge a case.

        Args:
            image: as it was read.
            seen: the same by ``observe_image``.
            segmentation: of it, by a segmenter that looks with ``Examiner.look``.
            limits: why what was calibrated is not quite what was run; then nothing is exact.
        """
        observations = self.examiner.observe(image, seen, segmentation)
        positions = ranked_positions(self.model, self.examiner.description)
        found = judge(self.model, [observations[index] for index in positions])
        reasons = [*limits, *([_KNOWN] if image.sha256 in self.known_images else [])]
        reasons += [
            text
            for name, text in _UNCOMPARED.items()
            if name in self.model.section.scores and name not in (observations[0].doubts or {})
        ]
        changes: dict[str, Any] = {"site": self.site, **_limited(found, reasons)}
        if found.verdict not in (Verdict.IN_DISTRIBUTION, Verdict.NOT_CALIBRATED):
            grid = segmentation.seen.grid
            features = segmentation.fold_features[positions[0]]
            tiles = unusual_tiles(self.model.folds[0], features, grid, image.geometry)
            changes["unusual_tiles"] = tiles
        return found.model_copy(update=changes)


def ranked_positions(model: DistributionModel, description: ModelDescription) -> list[int]:
    """Which of the first member's folds made the features that each of the model's scores was fitted to."""
    names = [fold.name for fold in description.members[0].folds]
    return [names.index(ranked.fold) if ranked.fold in names else 0 for ranked in model.section.folds]


_UNCOMPARED = {
    MIRRORS: "The calibration also ranks how far mirrored passes agree; this run had none to compare.",
    FOLDS: "The calibration also ranks how far folds agree; this run had none to compare.",
}
_KNOWN = "The image is itself one of those that it was ranked against."


def _limited(found: Distribution, reasons: Sequence[str]) -> dict[str, str]:
    """What remains of a promise where something is otherwise than it was calibrated."""
    if not reasons:
        return {}
    exact = found.guarantee == GuaranteeKind.CONFORMAL
    kind = GuaranteeKind.APPROXIMATE.value if exact else found.guarantee
    return {"guarantee": kind, "remark": " ".join([*([found.remark] if found.remark else []), *reasons])}
