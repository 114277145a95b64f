"""Fixtures of all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("NNUNET_LOSSES_SHARED", ROOT.parent / "shared"))

# Set by .ci/run, which provides everything: a test that would be skipped fails there instead.
NO_SKIPS = os.environ.get("NNUNET_LOSSES_NO_SKIPS") == "1"


def require(condition: object, reason: str) -> None:
    """Skip the test unless the condition holds; fail it where everything must be present."""
    if condition:
        return
    if NO_SKIPS:
        pytest.fail(f"{reason} (NNUNET_LOSSES_NO_SKIPS=1 forbids skipping)")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data, a trained model and reference values beside the checkout."""
    require(SHARED.is_dir(), "the folder with real data is absent")
    return SHARED
