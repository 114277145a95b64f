"""A case that the networks have answered, before anything is decided about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .image import Image
    from .pipeline.segment import Segmentation
    from .safety.scores.observation import Observation


@dataclass(frozen=True, eq=False)
class Examined:
    """What the pipeline made of an image: the ground on which service and calibration decide alike.

    Attributes:
        image: as it was read.
        votes: the members' logits, see ``pipeline.segment.Votes``; None where the engine gives none.
        segmentation: mask, features, and what postprocessing removed.
        observations: for the scores, one for each fold of the first member: they differ in their features.
            Empty where nobody asked.
    """

    image: Image
    votes: Any
    segmentation: Segmentation
    observations: tuple[Observation, ...] = ()
