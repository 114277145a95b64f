"""Fixtures of all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from .models import ModelFolderSpec, write_model_folder

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("NNUNET_LOSSES_SHARED", ROOT.parent / "shared"))

# Set by .ci/run, which provides everything: a test that would be skipped fails there instead.
NO_SKIPS = os.environ.get("NNUNET_LOSSES_NO_SKIPS") == "1"

# What Hypothesis finds follows from the test alone: not from chance, nor from what is slow on a busy machine.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


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


@pytest.fixture(scope="session")
def picture_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained model folder for grey pictures, as small as can be; to be read only."""
    spec = ModelFolderSpec(
        patch_size=(16, 16),
        spacing=(1.0, 1.0),
        features=(2, 4),
        reader="NaturalImage2DIO",
        file_ending=".png",
    )
    return write_model_folder(tmp_path_factory.mktemp("picture") / "model", spec)


@pytest.fixture(scope="session")
def picture_bundle(picture_model: Path) -> Path:
    """Its bundle; to be read only."""
    from nnunet_losses.export.bundle_writer import export_bundle

    return export_bundle(picture_model, picture_model.parent / "picture.bundle")
