"""Bundles with small random networks, exported once for all tests of the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.bundle import Bundle

from ..models import ModelFolderSpec, write_model_folder

if TYPE_CHECKING:
    from pathlib import Path

SPECS = {
    "volume": ModelFolderSpec(),
    "regions": ModelFolderSpec(
        channels=("T1", "FLAIR"),
        normalization=("ZScoreNormalization",) * 2,
        use_mask=(True, True),
        labels={"background": 0, "whole": [1, 2], "core": [2]},
        regions_class_order=(1, 2),
        folds=(0, 1),
    ),
    "rgb": ModelFolderSpec(
        patch_size=(32, 32),
        spacing=(1.0, 1.0),
        channels=("R", "G", "B"),
        normalization=("RGBTo01Normalization",) * 3,
        use_mask=(False,) * 3,
        reader="NaturalImage2DIO",
        file_ending=".png",
    ),
}


def export(folder: Path, name: str) -> Bundle:
    from nnunet_losses.export.bundle_writer import export_bundle

    model = write_model_folder(folder / name, SPECS[name])
    return Bundle.load(export_bundle(model, folder / f"{name}.bundle"))


@pytest.fixture(scope="session")
def volume_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(tmp_path_factory.mktemp("volume"), "volume")


@pytest.fixture(scope="session")
def region_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(tmp_path_factory.mktemp("regions"), "regions")


@pytest.fixture(scope="session")
def rgb_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export(tmp_path_factory.mktemp("rgb"), "rgb")
