"""What a phantom is: the settings of a data set, and a drawn case."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Labelling = Literal["organ_lesion", "lesion", "regions"]


@dataclass(frozen=True)
class Phantom:
    """What the images of a data set are like. Ranges are (lowest, highest), drawn uniformly for each case.

    Attributes:
        size: voxels along (z, y, x) or (y, x).
        spacing: millimetres, in the order of ``size``.
        variation: sizes and spacings of a case differ from the above by up to this share.
        lesions: number of lesions in a case; (0, 0) makes lesion-free cases. Where there is no room for
            all, there are fewer, but at least one.
        lesion_radius: as a share of the organ's radius, drawn on a logarithmic scale.
        contrast: brightness of a lesion above the organ; the organ's own brightness is 0.65.
        mimics: number of lesion-like blobs outside the organ, which are not lesions.
        noise: standard deviation of the noise.
        texture: standard deviation of the texture.
        bias: standard deviation of the bias field, as a share of the brightness.
        channels: names of the channels as nnU-Net knows them; they choose its normalisation.
        labelling: ``organ_lesion`` (0, 1, 2), ``lesion`` (0, 1), or ``regions`` (whole organ, lesion).
        file_ending: ``.nii.gz`` or, in two dimensions, also ``.png``; None chooses by dimension.

    Raises:
        ValueError: if a value makes no sense.

    Example:
        >>> Phantom.of_dimension(2).size
        (96, 96)
    """

    size: tuple[int, ...] = (32, 48, 48)
    spacing: tuple[float, ...] = (1.5, 1.0, 1.0)
    variation: float = 0.1
    lesions: tuple[int, int] = (1, 4)
    lesion_radius: tuple[float, float] = (0.16, 0.42)
    contrast: tuple[float, float] = (0.25, 0.5)
    mimics: tuple[int, int] = (0, 2)
    noise: float = 0.04
    texture: float = 0.04
    bias: float = 0.1
    channels: tuple[str, ...] = ("MRI",)
    labelling: Labelling = "organ_lesion"
    file_ending: str | None = None

    @classmethod
    def of_dimension(cls, dimension: int) -> Phantom:
        """Return the default settings in two or three dimensions."""
        if dimension not in (2, 3):
            raise ValueError(f"A phantom has 2 or 3 dimensions, not {dimension}.")
        return cls() if dimension == 3 else cls(size=(96, 96), spacing=(1.0, 1.0))

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.size)

    def __post_init__(self) -> None:
        self._check_grid()
        self._check_ranges()
        if not self.channels or self.labelling not in get_args(Labelling):
            raise ValueError(
                f"Needed are at least one channel and a labelling out of {', '.join(get_args(Labelling))}; "
                f"got {self.channels} and {self.labelling!r}."
            )

    def _check_grid(self) -> None:
        if self.dimension not in (2, 3) or len(self.spacing) != self.dimension:
            raise ValueError(
                f"size and spacing have 2 or 3 entries each, got {self.size} and {self.spacing}."
            )
        if min(self.size) < 8 or not all(0 < step < math.inf for step in self.spacing):
            raise ValueError(
                f"Sizes are at least 8 and spacings positive, got {self.size} and {self.spacing}."
            )
        if self.ending not in (".nii.gz", ".png") or (self.ending == ".png" and self.dimension == 3):
            raise ValueError(
                f"A {self.dimension}D phantom is stored as .nii.gz, or in 2D as .png, not {self.ending!r}."
            )

    def _check_ranges(self) -> None:
        for name in ("lesions", "lesion_radius", "contrast", "mimics"):
            low, high = getattr(self, name)
            if not 0 <= low <= high < math.inf:
                raise ValueError(
                    f"{name} is (lowest, highest) with 0 <= lowest <= highest, got {(low, high)}."
                )
        if not 0 < self.lesion_radius[0] <= self.lesion_radius[1] <= 0.6:
            raise ValueError(f"lesion_radius lies in (0, 0.6] organ radii, got {self.lesion_radius}.")
        if not 0 <= self.variation <= 0.5:
            raise ValueError(f"variation lies in [0, 0.5], got {self.variation}.")
        for name in ("noise", "texture", "bias"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is finite and not negative, got {getattr(self, name)}.")

    @property
    def ending(self) -> str:
        """Ending of the files that ``write_dataset`` writes."""
        return self.file_ending or (".png" if self.dimension == 2 else ".nii.gz")


@dataclass(frozen=True)
class Lesion:
    """One lesion as it lies in the label map: one connected component of its own."""

    voxels: int
    volume: float  # cubic millimetres; square millimetres in 2D
    contrast: float
    centre: tuple[float, ...]  # voxel coordinates, in the order of the array


@dataclass(frozen=True, eq=False)
class Case:
    """One drawn case.

    Attributes:
        image: (channels, [z,] y, x), float32, whole numbers as a scanner stores them.
        labels: ([z,] y, x), uint8.
        spacing: millimetres, in array order.
        origin: of the first voxel, millimetres, x first (the file's convention).
        direction: row-major direction cosines, x first.
        lesions: what was painted, in the order in which it was.
    """

    image: NDArray[np.float32]
    labels: NDArray[np.uint8]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    lesions: tuple[Lesion, ...] = field(default=())
