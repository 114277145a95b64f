"""Which stream of cases a bundle's drift is watched in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ..jobs.drift import DriftStream

if TYPE_CHECKING:
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
    text = stored.calibration.model_dump_json() + (
        "" if stored.site is None else stored.site.model_dump_json()
    )
    return DriftStream(
        model=bundle.description.name,
        bundle_sha256=bundle.sha256,
        calibration_sha256=hashlib.sha256(text.encode()).hexdigest(),
        scores=scores,
    )
