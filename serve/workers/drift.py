"""Which stream of cases a bundle's drift is watched in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ..jobs.drift import DriftStream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel

    from ..bundle import Bundle


def stream_of(bundle: Bundle) -> DriftStream | None:
    """Begin with the calibration cases of a bundle (of its site, if it has an overlay).

    None where nothing was calibrated, or where the calibration has no statistic that is a fixed function of
    the case: ranks against a pool that grows promise nothing then.
    """
    stored = bundle.calibration
    model = None if stored is None else stored.model
    if stored is None or model is None or any(fold.usual is None for fold in model.folds):
        return None
    pool = model.fixed_pool()
    scores = tuple(float(score) for score in pool[np.isfinite(pool)])
    if not scores:
        return None
    written = [stored.calibration] if stored.site is None else [stored.calibration, stored.site]
    return DriftStream(
        model=bundle.description.name,
        bundle_sha256=bundle.sha256,
        calibration_sha256=_hash(written),
        scores=scores,
    )


def _hash(written: Sequence[BaseModel]) -> str:
    """Hash what stands in the files alone: a stream survives a version that knows more fields."""
    text = "".join(part.model_dump_json(exclude_unset=True) for part in written)
    return hashlib.sha256(text.encode()).hexdigest()
