"""Exported bundles, and images for them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.export.bundle_writer import export_bundle
from tests.models import ModelFolderSpec, write_model_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


BASE = ModelFolderSpec(features=(4, 8))  # two stages: exporting takes long enough


@dataclass(frozen=True)
class Exported:
    """A model folder, its bundle, and a folder with images of two cases."""

    spec: ModelFolderSpec
    model: Path
    bundle: Path
    images: Path


SPACING = (1.3, 0.9, 1.1)  # of the images, (z, y, x)


def write_images(
    folder: Path,
    spec: ModelFolderSpec,
    *,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float] = SPACING,
    seed: int = 0,
) -> Path:
    """Two cases in the model's file format, off the plan's spacing where files have one."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in range(2):
        generator = np.random.default_rng([seed, case])
        volumes = [_volume(generator, shape) for _ in spec.channels]
        if spec.reader == "NaturalImage2DIO":
            _write_pictures(folder, spec, case, volumes)
        else:
            _write_volumes(folder, spec, case, volumes, spacing)
    return folder


def _volume(generator: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(generator.normal(size=shape), [min(2.0, size / 8) for size in shape])
    volume = 80 + 60 * smooth / smooth.std() + generator.normal(size=shape)
    volume[:, :3] = 0  # so that cropping has something to do
    return volume


def _write_volumes(
    folder: Path,
    spec: ModelFolderSpec,
    case: int,
    volumes: list[np.ndarray],
    spacing: tuple[float, float, float],
) -> None:
    import SimpleITK as sitk

    for channel, volume in enumerate(volumes):
        image = sitk.GetImageFromArray(volume.astype(np.float32))
        image.SetSpacing(spacing[::-1])
        image.SetOrigin((5.0, -7.0, 11.0))
        image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
        sitk.WriteImage(image, str(folder / f"case{case}_{channel:04d}{spec.file_ending}"))


def _write_pictures(folder: Path, spec: ModelFolderSpec, case: int, volumes: list[np.ndarray]) -> None:
    import imageio.v3 as imageio

    pixels = np.clip(np.stack(volumes)[:, 0], 0, 255).astype(np.uint8)
    pictures = [pixels.transpose(1, 2, 0)] if len(pixels) == 3 else list(pixels)
    for channel, picture in enumerate(pictures):
        imageio.imwrite(folder / f"case{case}_{channel:04d}{spec.file_ending}", picture)


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Write and export a model once for every specification."""
    done: list[tuple[tuple[object, ...], Exported]] = []

    def exported(
        spec: ModelFolderSpec,
        *,
        shape: tuple[int, int, int] = (18, 26, 20),
        spacing: tuple[float, float, float] = SPACING,
    ) -> Exported:
        wanted = (spec, shape, spacing)
        for known, result in done:
            if known == wanted:
                return result
        root = tmp_path_factory.mktemp("exported")
        model = write_model_folder(root / "model", spec)
        images = write_images(root / "images", spec, shape=shape, spacing=spacing)
        result = Exported(spec, model, export_bundle(model, root / "bundle"), images)
        done.append((wanted, result))
        return result

    return exported


@pytest.fixture
def plain(export: Callable[..., Exported], tmp_path: Path) -> Exported:
    """The plain 3D model; bundle and model folder are copies that a test may damage."""
    original = export(BASE)
    return Exported(
        original.spec,
        shutil.copytree(original.model, tmp_path / "model"),
        shutil.copytree(original.bundle, tmp_path / "bundle"),
        original.images,
    )
