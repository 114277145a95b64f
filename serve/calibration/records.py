"""What the served pipeline made of one case of the calibration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nnunet_losses.serve.safety.candidates import LabelCandidates
    from nnunet_losses.serve.safety.scores.observation import Observation


class Kind(StrEnum):
    """What is known of a case's truth."""

    LESION_BEARING = "lesion_bearing"
    LESION_FREE = "lesion_free"
    UNLABELLED = "unlabelled"
    OUTLIER = "outlier"


class Role(StrEnum):
    """What a case is for. A case that a score was fitted to, or a network trained with, is never ranked."""

    FITTED = "fitted"
    RANKED = "ranked"
    OUTLIER = "outlier"


@dataclass(frozen=True)
class Refused:
    """A case that the contract refused: it has no scores. Where it is ranked, it counts as the strangest.

    Attributes:
        name, group, fold, role, input_sha256: as of ``CaseRecord``.
        reason: what the contract says.
    """

    name: str
    group: str
    fold: str | None
    role: Role
    input_sha256: str
    reason: str


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """What is kept of a case.

    Attributes:
        name: of the case.
        group: patient, or whatever makes cases belong together; the case's own name where nothing is known.
        fold: whose model answered; None where it was the whole bundle.
        kind: what is known of its truth.
        role: what it is for.
        input_sha256: of its files.
        observation: for the scores.
        candidates: of each label, in the model's order; with the truth where there is a reference.
        tiles: the observation's features before they were pooled, float16 (tiles, channels) by output name;
            None where they are not needed.
    """

    name: str
    group: str
    fold: str | None
    kind: Kind
    role: Role
    input_sha256: str
    observation: Observation
    candidates: tuple[LabelCandidates, ...] = ()
    tiles: dict[str, NDArray[np.float16]] | None = None
