"""A synthetic CT: a noisy body with organs in air, and a network that finds the organs by their density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

AIR, BODY = -1000, -100
NOISE = 15.0
STATISTICS = {"mean": 40.0, "std": 180.0, "percentile_00_5": -960.0, "percentile_99_5": 600.0}


@dataclass(frozen=True)
class Phantom:
    """One case and the model that segments it; axes (z, y, x), millimetres."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    network_spacing: tuple[float, float, float]
    patch: tuple[int, int, int]
    classes: int

    @property
    def densities(self) -> NDArray[np.float32]:
        """Of air and body, which are background, and of each organ."""
        return np.concatenate([[AIR, BODY], np.linspace(0, 580, self.classes - 1)]).astype(np.float32)

    def write(self, path: Path) -> None:
        """Write the image: int16, so that nothing is cropped off."""
        rng = np.random.default_rng(0)
        sizes = np.array(self.shape, np.float32)
        volume = np.full(self.shape, AIR, np.int16)
        self._fill(volume, sizes / 2, sizes * (0.6, 0.35, 0.42), BODY)
        for density in self.densities[2:]:
            centre, radii = sizes * rng.uniform(0.3, 0.7, 3), sizes * rng.uniform(0.05, 0.12, 3)
            self._fill(volume, centre, radii, density)
        for plane in volume:
            np.add(plane, NOISE * rng.standard_normal(plane.shape), out=plane, casting="unsafe")
        image = sitk.GetImageFromArray(volume)
        image.SetSpacing(self.spacing[::-1])
        sitk.WriteImage(image, str(path))

    def _fill(
        self, volume: NDArray[np.int16], centre: NDArray[np.float32], radii: NDArray[np.float32], value: float
    ) -> None:
        z, y, x = (
            ((np.arange(size, dtype=np.float32) - middle) / radius) ** 2
            for size, middle, radius in zip(self.shape, centre, radii, strict=True)
        )
        for plane, offset in zip(volume, z, strict=True):
            plane[offset + y[:, None] + x < 1] = value

    def logits(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (1, classes, *patch) of a normalised tile (1, 1, *patch)."""
        densities = (self.densities - STATISTICS["mean"]) / STATISTICS["std"]
        result = np.empty((1, self.classes, *tile.shape[2:]), np.float32)
        result[:, 0] = -np.minimum(abs(tile[:, 0] - densities[0]), abs(tile[:, 0] - densities[1]))
        for channel, density in enumerate(densities[2:], start=1):
            result[:, channel] = -abs(tile[:, 0] - density)
        result *= 60
        return result


CASES = {
    # the abdominal CT of the FLARE challenges' kind
    "ct": Phantom((300, 512, 512), (1.5, 0.8, 0.8), (1.5, 1.5, 1.5), (128, 128, 128), 15),
    "thick": Phantom((60, 512, 512), (5.0, 0.8, 0.8), (5.0, 1.2, 1.2), (32, 192, 192), 15),
    "small": Phantom((40, 72, 64), (1.5, 0.8, 0.8), (1.5, 1.5, 1.5), (24, 24, 24), 4),
}
