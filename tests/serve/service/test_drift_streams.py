"""Which stream of cases a bundle's drift is watched in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from nnunet_losses.serve.safety.calibration import Calibration
from nnunet_losses.serve.workers.drift import stream_of

WRITTEN = {
    "created": "2026-01-01",
    "versions": {},
    "provider": "CPU",
    "precision": "float32",
    "identity": {"networks": {}, "preprocessing": "0" * 64},
    "counts": {"cases": 3, "fitted": 3, "ranked": 2},
}


class Newer(Calibration):
    """The same file, as a later version reads it."""

    colour: str = "blue"


def stream(kind: type[Calibration] = Calibration, **changes: Any) -> str:
    model = SimpleNamespace(folds=[SimpleNamespace(usual=0)], fixed_pool=lambda: np.array([1.0, np.nan, 2.0]))
    calibration = kind.model_validate(WRITTEN | changes)
    stored = SimpleNamespace(calibration=calibration, site=None, model=model)
    described = SimpleNamespace(name="liver")
    found = stream_of(SimpleNamespace(calibration=stored, description=described, sha256="1" * 64))  # type: ignore[arg-type]
    assert found is not None
    assert found.scores == (1.0, 2.0)
    return found.id


def test_a_stream_survives_a_newer_version_but_not_another_calibration() -> None:
    assert stream() == stream(Newer)
    assert stream() != stream(created="2026-01-02")
