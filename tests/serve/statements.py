"""Images, masks and calibrations of which something is stated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import EmptyMeaning
from nnunet_losses.serve.image import Geometry, Image
from nnunet_losses.serve.pipeline.segment import Segmentation
from nnunet_losses.serve.policies import EmptyPolicy, OodPolicy, Policies
from nnunet_losses.serve.safety.candidates import LabelCandidates
from nnunet_losses.serve.safety.presence_section import (
    ComponentScore,
    LabelPresence,
    PresenceGuarantee,
    PresenceSection,
)
from nnunet_losses.serve.statement import Ground, Statement

from .models import description
from .safety.votes import candidate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = description()  # organ 1, lesion 2
SHAPE = (2, 4, 5)
LOW, HIGH = 50.0, 60.0  # thresholds of both labels; scores are margins there
RETURN = Policies(OodPolicy.RETURN, EmptyPolicy.RETURN)
NO_FINDING, INDETERMINATE, NO_DECISION = (
    EmptyMeaning.NO_FINDING,
    EmptyMeaning.INDETERMINATE,
    EmptyMeaning.NO_DECISION,
)


def presence(name: str, guarantee: PresenceGuarantee = PresenceGuarantee.CONFORMAL) -> LabelPresence:
    return LabelPresence(
        label=name,
        guarantee=guarantee,
        score=ComponentScore(),
        lower=LOW,
        upper=HIGH,
        lesion_free=tuple(np.linspace(40, HIGH, 19).tolist()),
        lesion_bearing=tuple(np.linspace(LOW, 90, 19).tolist()),
        n_lesion_free=19,
    )


CALIBRATED = PresenceSection(labels=(presence("organ"), presence("lesion")))
SURROGATE = PresenceSection(
    labels=(presence("organ"), presence("lesion", PresenceGuarantee.SURROGATE)),
)


def ground(mask: NDArray[Any], margins: dict[str, list[float]] | None = None, **changes: Any) -> Ground:
    """An image whose labels have components of these margins."""
    geometry = Geometry(3, (1.0, 1.0, 10.0), (0.0,) * 3, tuple(np.eye(3).ravel()))
    image = Image(np.ones((1, *SHAPE), np.float32), (10.0, 1.0, 1.0), geometry, "")
    found = tuple(
        LabelCandidates(
            label=label.name,
            components=tuple(
                candidate(m, volume=10.0, place=(0, 1, 2)) for m in (margins or {}).get(label.name, [])
            ),
            below=0.0 if (margins or {}).get(label.name) else -3.0,
        )
        for label in MODEL.labels
    )
    values = {"description": MODEL, "candidates": found, "policies": RETURN, **changes}
    made = values.pop("segmentation", None) or Segmentation(mask, {}, 1, 1, {})
    return Ground(image, made, **values)


def mask(**voxels: int) -> NDArray[np.uint8]:
    """So many voxels of each label, from the front."""
    flat = np.zeros(np.prod(SHAPE), np.uint8)
    organ, lesion = voxels.get("organ", 0), voxels.get("lesion", 0)
    flat[:organ] = 1
    flat[organ : organ + lesion] = 2
    return flat.reshape(SHAPE)


def codes(statement: Statement) -> list[str]:
    return [warning.code for warning in statement.warnings]
