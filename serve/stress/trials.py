"""Runs a bundle over damaged images: what does it notice, and what do the damages do to its masks?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import Outcome, Verdict
from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.pipeline.preprocess import resampled_shape
from nnunet_losses.serve.safety.contract import check_contract
from nnunet_losses.serve.safety.memory import tile_count
from nnunet_losses.serve.safety.scores.observation import observe_image
from nnunet_losses.serve.safety.verdict import judge

from .suite import Corruption, Family, damages

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from numpy.typing import NDArray

    from nnunet_losses.serve.answer import Answer, Distribution
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.predictor import Predictor
    from nnunet_losses.serve.result_files import Prediction

    Show = Callable[["Trial", Image, NDArray[Any] | None], None]
    Progress = Callable[[int, int, str], None]

MOST_TIMES = 30  # as many tiles as the undamaged image has; a wrong spacing may make a thousand times as many
NOT_RUN = "(Judged by the image alone: the network would take many times as long as usual.)"
WITHOUT_TRUTH = (Family.CONTENT, Family.CONTRACT)  # no mask is right for what is no image of the kind


class Finding(StrEnum):
    """What the bundle said of an image."""

    REFUSED = "refused"  # by the contract, or as a whole
    OUT_OF_DISTRIBUTION = "out of distribution"
    SUSPICIOUS = "suspicious"
    UNNOTICED = "unnoticed"
    FAILED = "failed"  # an engine gave up: no mask, and no statement either

    @property
    def is_noticed(self) -> bool:
        """Whether a user is told that something is wrong."""
        return self not in (Finding.UNNOTICED, Finding.FAILED)


@dataclass(frozen=True)
class Trial:
    """One image, damaged or not, and what came of it.

    Attributes:
        case: name.
        corruption: key of the damage; None for the image as it is.
        severity: 0 is mild.
        finding: what the bundle said.
        reason: the main evidence, in a sentence; empty where nothing was said.
        p: share of calibration cases at least as strange; None without a calibration.
        agreement: mean Dice over labels between the mask and that of the undamaged image, brought to the same
            place; None where no mask can be right, or there is none.
        seconds: for the answer.
    """

    case: str
    corruption: str | None
    severity: int
    finding: Finding
    reason: str
    p: float | None
    agreement: float | None
    seconds: float


class Memory:
    """Stands in for the reader of files: hands out images that were put in."""

    def __init__(self) -> None:
        self._image: Image | None = None

    def case(self, name: str, image: Image) -> Case:
        """A case whose file is this image."""
        self._image = image
        return Case(name, (Path(name),))

    def __call__(self, *_files: Any, **_how: Any) -> Image:
        """The image that was put in last."""
        assert self._image is not None, "put in before"
        return self._image


@dataclass(frozen=True, eq=False)
class Bench:
    """A predictor that gets its images from memory.

    Attributes:
        predictor: made with ``read=memory``.
        memory: the reader.
        only: keys of the damages; None takes all that apply.
        show: gets every trial with its image and mask, for pictures.
    """

    predictor: Predictor
    memory: Memory
    only: Collection[str] | None = None
    show: Show | None = None

    def planned(self, image: Image) -> list[tuple[Corruption, int]]:
        """Damages of one image."""
        return [
            (corruption, severity)
            for corruption, severity in damages(image)
            if self.only is None or corruption.key in self.only
        ]

    def trials(self, name: str, image: Image, progress: Progress) -> Iterator[Trial]:
        """The image as it is, then with every damage.

        Raises:
            Refusal: where the undamaged image makes an engine fail.
        """
        planned = self.planned(image)
        progress(0, len(planned) + 1, name)
        start = perf_counter()
        usual = self.predictor.predict(self.memory.case(name, image))
        yield self._told(name, None, 0, (image, usual, start), None)
        for done, (corruption, severity) in enumerate(planned, 1):
            progress(done, len(planned) + 1, f"{name}: {corruption.title}")
            damaged, start = corruption.apply(image, severity, case=name), perf_counter()
            if self._tiles(damaged) > MOST_TIMES * self._tiles(image):
                yield self._by_image_alone(name, (corruption, severity), damaged, start)
                continue
            try:
                prediction = self.predictor.predict(self.memory.case(name, damaged))
            except Refusal as refusal:
                yield self._failed(name, (corruption, severity), damaged, refusal, start)
                continue
            expected = expected_mask(image, usual.mask, corruption, severity, case=name)
            yield self._told(name, corruption, severity, (damaged, prediction, start), expected)
        progress(len(planned) + 1, len(planned) + 1, name)

    def _told(
        self,
        name: str,
        corruption: Corruption | None,
        severity: int,
        outcome: tuple[Image, Prediction, float],
        expected: NDArray[Any] | None,
    ) -> Trial:
        image, prediction, start = outcome
        finding, reason = found(prediction.answer)
        key = None if corruption is None else corruption.key
        agreement = agree(prediction.mask, expected)
        seconds = perf_counter() - start
        trial = Trial(
            name, key, severity, finding, reason, prediction.answer.distribution.p, agreement, seconds
        )
        if self.show is not None:
            self.show(trial, image, prediction.mask)
        return trial

    def _tiles(self, image: Image) -> int:
        """How many tiles the networks would look at."""
        members = self.predictor.bundle.description.members
        return sum(tile_count(resampled_shape(image.shape, image.spacing, one), one) for one in members)

    def _by_image_alone(self, name: str, damage: tuple[Corruption, int], image: Image, start: float) -> Trial:
        """Contract, and the scores that need no network: it would take many times as long as usual.

        Scores that are missing count as nothing strange; with them the bundle notices this or more.
        """
        predictor, (corruption, severity) = self.predictor, damage
        p = None
        try:
            check_contract(image, predictor.bundle.description, memory_bytes=predictor.limits.memory_bytes)
            finding, reason = Finding.UNNOTICED, ""
            if predictor.judge is not None:
                distribution = judge(predictor.judge.model, [observe_image(image)])
                finding, reason = told_by(distribution)
                p = distribution.p
        except Refusal as refusal:
            finding, reason = Finding.REFUSED, refusal.detail
        reason = f"{reason} {NOT_RUN}".strip()
        trial = Trial(name, corruption.key, severity, finding, reason, p, None, perf_counter() - start)
        if self.show is not None:
            self.show(trial, image, None)
        return trial

    def _failed(
        self, name: str, damage: tuple[Corruption, int], image: Image, refusal: Refusal, start: float
    ) -> Trial:
        corruption, severity = damage
        seconds = perf_counter() - start
        trial = Trial(name, corruption.key, severity, Finding.FAILED, refusal.detail, None, None, seconds)
        if self.show is not None:
            self.show(trial, image, None)
        return trial


def found(answer: Answer) -> tuple[Finding, str]:
    """What an answer says of its image, and why, in one sentence."""
    if answer.outcome is Outcome.REJECTED:
        return Finding.REFUSED, "" if answer.problem is None else answer.problem.detail
    return told_by(answer.distribution)


def told_by(distribution: Distribution) -> tuple[Finding, str]:
    """What a verdict means here, and its main evidence."""
    reason = distribution.evidence[0].message if distribution.evidence else ""
    if distribution.verdict is Verdict.OUT_OF_DISTRIBUTION:
        return Finding.OUT_OF_DISTRIBUTION, reason
    if distribution.verdict is Verdict.SUSPICIOUS:
        return Finding.SUSPICIOUS, reason
    return Finding.UNNOTICED, ""


def expected_mask(
    image: Image, mask: NDArray[Any] | None, corruption: Corruption, severity: int, *, case: str
) -> NDArray[Any] | None:
    """The undamaged image's mask, moved as the damage moves voxels; None where no mask is right."""
    if mask is None or corruption.family in WITHOUT_TRUTH:
        return None
    if corruption.family is not Family.SPACE:
        return mask
    as_image = replace(image, data=mask[np.newaxis].astype(np.float32))
    moved: NDArray[Any] = corruption.apply(as_image, severity, case=case).data[0].astype(mask.dtype)
    return moved


def agree(mask: NDArray[Any] | None, expected: NDArray[Any] | None) -> float | None:
    """Mean Dice over the values that either holds; 1 for two empty masks, None where one is missing.

    Example:
        >>> agree(np.array([[[1, 1, 2, 0]]]), np.array([[[1, 1, 0, 0]]]))
        0.5
    """
    if mask is None or expected is None or mask.shape != expected.shape:
        return None
    values = np.union1d(mask, expected)
    overlaps = [
        2 * np.count_nonzero((mask == value) & (expected == value))
        / (np.count_nonzero(mask == value) + np.count_nonzero(expected == value))
        for value in values[values > 0]
    ]  # fmt: skip
    return float(np.mean(overlaps)) if overlaps else 1.0
