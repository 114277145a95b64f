"""What the served pipeline made of one case of the calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import Field

from nnunet_losses.serve.schema import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nnunet_losses.serve.examined import Examined
    from nnunet_losses.serve.safety.scores.observation import Observation
    from nnunet_losses.serve.schema import ModelDescription


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


class LabelRecord(Frozen):
    """One label of one case.

    Attributes:
        reference_present: whether it is there in truth; None where nobody knows.
        dice: between mask and reference; None without a reference, or where both are empty.
        candidates: connected parts that may be lesions, strongest first, as plain values.
        facts: whatever else a look found, by name; plain values that JSON can hold.
    """

    reference_present: bool | None = None
    dice: float | None = None
    candidates: tuple[dict[str, Any], ...] = ()
    facts: dict[str, Any] = Field(default_factory=dict)


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
        labels: by name, in the model's order.
    """

    name: str
    group: str
    fold: str | None
    kind: Kind
    role: Role
    input_sha256: str
    observation: Observation
    labels: Mapping[str, LabelRecord] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """A case of the calibration that was just answered, with everything that a look may need.

    Attributes:
        examined: image, votes (logits), segmentation and observations.
        reference: mask (z, y, x) on the image's grid; None without one.
        description: of the model that answered.
        engine: ``Segmenter`` that answered.
    """

    examined: Examined
    reference: NDArray[Any] | None
    description: ModelDescription
    engine: Any


class Look(Protocol):
    """Finds out something about each label of a case, once per case of a calibration."""

    def __call__(self, subject: Subject) -> Mapping[str, Mapping[str, Any]]:
        """Return, by label name, fields of ``LabelRecord``."""
