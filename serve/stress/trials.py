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

from .suite import Corruption, Family, damages

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.answer import Answer
    from nnunet_losses.serve.formats import Limits
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.predictor import Prediction, Predictor
    from nnunet_losses.serve.schema import Reader

    Show = Callable[["Trial", Image, NDArray[Any] | None], None]
    Progress = Callable[[int, int, str], None]

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

    def __call__(self, files: Sequence[Path], reader: Reader, limits: Limits) -> Image:  # noqa: ARG002 - a reader's signature
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
    evidence = answer.distribution.evidence
    reason = evidence[0].message if evidence else ""
    if answer.outcome is Outcome.REJECTED:
        return Finding.REFUSED, reason if answer.problem is None else answer.problem.detail
    if answer.distribution.verdict is Verdict.OUT_OF_DISTRIBUTION:
        return Finding.OUT_OF_DISTRIBUTION, reason
    if answer.distribution.verdict is Verdict.SUSPICIOUS:
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
    return corruption.apply(as_image, severity, case=case).data[0].astype(mask.dtype)


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
