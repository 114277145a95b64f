"""Draws one phantom from settings and a seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .phantom_settings import Case, Lesion
from .phantom_shapes import draw_star, positions, smooth_field

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .phantom_settings import Phantom
    from .phantom_shapes import Floats, Star

INTENSITY_UNIT = 1000.0  # scanner units of a tissue of brightness 1
# Brightness of air, body and organ, and the sign and size of a lesion's contrast; channels take turns.
_TISSUES = ((0.04, 0.40, 0.65, 1.0), (0.04, 0.60, 0.42, -0.8), (0.04, 0.35, 0.50, 0.6))
_GAP = 2.0  # voxels between two lesions, so that they are surely two components
_SHRINKING = (1.0, 0.75, 0.5, 0.35)  # sizes that are tried where a blob finds no room


@dataclass(frozen=True, eq=False)
class _Blob:
    """A lesion, or what only looks like one."""

    star: Star
    contrast: float


@dataclass(frozen=True, eq=False)
class _Scene:
    """The grid of one case and where its random numbers come from."""

    settings: Phantom
    seed: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    where: tuple[Floats, ...]

    @property
    def extent(self) -> float:
        """Shortest side of the field of view in millimetres."""
        return min(n * step for n, step in zip(self.shape, self.spacing, strict=True))

    def stream(self, part: str) -> np.random.Generator:
        return _stream(self.seed, part)


def make_case(settings: Phantom, seed: int) -> Case:
    """Draw a case: equal settings and seed give the equal case, whatever was drawn before.

    Every part has its own stream of random numbers. So with ``lesions=(0, 0)`` the same seed gives the same
    organ, texture and noise without the lesions: its lesion-free twin.

    Args:
        settings: what the case is like.
        seed: not negative.

    Raises:
        ValueError: if the seed is negative.

    Example:
        >>> from nnunet_losses.phantom import Phantom
        >>> case = make_case(Phantom.of_dimension(2), seed=7)
        >>> case.image.shape[0], case.image.shape[1:] == case.labels.shape
        (1, True)
    """
    if seed < 0:
        raise ValueError(f"A seed is not negative, got {seed}.")
    scene = _draw_scene(settings, seed)
    body = _draw_body(scene)
    organ = _draw_organ(scene)
    levels = (body.level(scene.where), organ.level(scene.where))
    lesions = _draw_lesions(scene, organ, levels)
    mimics = _draw_mimics(scene, organ, levels)
    labels, painted = _label(scene, levels[1], lesions)
    origin, direction = _draw_pose(scene)
    return Case(
        image=_image(scene, (body, organ), levels, [*lesions, *mimics]),
        labels=labels,
        spacing=scene.spacing,
        origin=origin,
        direction=direction,
        lesions=painted,
    )


def _stream(seed: int, part: str) -> np.random.Generator:
    """Random numbers of one part of one case, independent of every other part's."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(part.encode())))


def _draw_scene(settings: Phantom, seed: int) -> _Scene:
    rng = _stream(seed, "grid")
    factors = rng.uniform(1 - settings.variation, 1 + settings.variation, (2, settings.dimension))
    shape = tuple(int(n) for n in np.maximum(np.rint(factors[0] * settings.size), 8))
    steps = factors[1] * settings.spacing
    steps[-2] = steps[-1] * settings.spacing[-2] / settings.spacing[-1]  # pixels keep their shape
    spacing = tuple(round(float(step), 4) for step in steps)
    return _Scene(settings, seed, shape, spacing, positions(shape, spacing))


def _draw_body(scene: _Scene) -> Star:
    rng = scene.stream("body")
    radius = scene.extent * rng.uniform(0.43, 0.48)
    return draw_star(rng, np.zeros(len(scene.shape)), radius, elongation=0.1, unevenness=0.1)


def _draw_organ(scene: _Scene) -> Star:
    rng = scene.stream("organ")
    centre = rng.uniform(-0.04, 0.04, len(scene.shape)) * scene.extent
    radius = scene.extent * rng.uniform(0.26, 0.33)
    return draw_star(rng, centre, radius, elongation=0.2, unevenness=0.2)


def _draw_lesions(scene: _Scene, organ: Star, levels: tuple[Floats, Floats]) -> list[_Blob]:
    """Lesions, wholly inside the organ."""
    return _scatter(scene, "lesions", depth=(1 - levels[1]) * organ.radius, organ_radius=organ.radius)


def _draw_mimics(scene: _Scene, organ: Star, levels: tuple[Floats, Floats]) -> list[_Blob]:
    """Blobs that look like lesions, in the body but clear of the organ."""
    clearance = (levels[1] - 1) * organ.radius - _GAP * max(scene.spacing)
    depth = np.where(levels[0] < 0.95, clearance, -np.inf)
    return _scatter(scene, "mimics", depth=depth, organ_radius=organ.radius)


def _scatter(scene: _Scene, kind: str, *, depth: Floats, organ_radius: float) -> list[_Blob]:
    """Draw blobs and put each where the ground is deep enough for it, apart from all others.

    A blob for which there is no room is made smaller; one that finds no room even so is left out.
    """
    rng = scene.stream(kind)
    low, high = getattr(scene.settings, kind)
    blobs: list[_Blob] = []
    for _ in range(int(rng.integers(low, high + 1))):
        drawn, contrast = _draw_blob(scene, rng, organ_radius)
        for star in (drawn.scaled(factor) for factor in _SHRINKING):
            room = _apart(scene, np.argwhere(depth > star.reach), star.reach, blobs)
            if len(room):
                blobs.append(_Blob(star.at(_place(scene, room[rng.integers(len(room))])), contrast))
                break
    return blobs


def _draw_blob(scene: _Scene, rng: np.random.Generator, organ_radius: float) -> tuple[Star, float]:
    """Shape around the middle of the grid, and contrast. A blob is never thinner than a voxel is wide."""
    low, high = np.log(scene.settings.lesion_radius)
    radius = max(float(np.exp(rng.uniform(low, high))) * organ_radius, 1.2 * min(scene.spacing))
    star = draw_star(rng, np.zeros(len(scene.shape)), radius, elongation=0.3, unevenness=0.25)
    return star, float(rng.uniform(*scene.settings.contrast))


def _place(scene: _Scene, voxels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Voxel indices (..., d) to millimetres from the middle of the grid."""
    middle = (np.array(scene.shape) - 1) / 2
    place: NDArray[np.float64] = (voxels - middle) * np.array(scene.spacing)
    return place


def _apart(scene: _Scene, voxels: NDArray[np.int64], reach: float, blobs: list[_Blob]) -> NDArray[np.int64]:
    """Those voxels at which a blob of the given reach would keep its distance from all others."""
    place = _place(scene, voxels)
    free = np.ones(len(voxels), dtype=bool)
    for blob in blobs:
        distance = np.linalg.norm(place - blob.star.centre, axis=1)
        free &= distance > reach + blob.star.reach + _GAP * max(scene.spacing)
    return voxels[free]


def _label(
    scene: _Scene, organ_level: Floats, lesions: list[_Blob]
) -> tuple[NDArray[np.uint8], tuple[Lesion, ...]]:
    """Label map and the record of each lesion."""
    value = 1 if scene.settings.labelling == "lesion" else 2
    organ = np.zeros(scene.shape, np.uint8) if value == 1 else (organ_level < 1).astype(np.uint8)
    records = []
    for blob in lesions:
        box = _box(scene, blob.star)
        inside = blob.star.level(_cut(scene, box)) < 1
        organ[box][inside] = value
        records.append(_record(scene, blob, box, inside))
    return organ, tuple(records)


def _record(scene: _Scene, blob: _Blob, box: tuple[slice, ...], inside: NDArray[np.bool_]) -> Lesion:
    voxels = int(inside.sum())
    centre = np.argwhere(inside).mean(axis=0) + [part.start for part in box]
    return Lesion(
        voxels=voxels,
        volume=round(voxels * float(np.prod(scene.spacing)), 4),
        contrast=round(blob.contrast, 4),
        centre=tuple(round(float(c), 2) for c in centre),
    )


def _box(scene: _Scene, star: Star, margin: float = 0.0) -> tuple[slice, ...]:
    """The part of the grid that surely holds the star."""
    middle = (np.array(scene.shape) - 1) / 2 + star.centre / scene.spacing
    half = (star.reach + margin) / np.array(scene.spacing) + 1
    low = np.maximum(np.floor(middle - half), 0).astype(int)
    high = np.minimum(np.ceil(middle + half) + 1, scene.shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _cut(scene: _Scene, box: tuple[slice, ...]) -> tuple[Floats, ...]:
    """Positions of the voxels of a box."""
    return tuple(
        axis[tuple(part if n > 1 else slice(None) for n in axis.shape)]
        for axis, part in zip(scene.where, box, strict=True)
    )


def _share(level: Floats, radius: float, edge: float) -> Floats:
    """Share of each voxel that lies inside: a ramp of ``edge`` millimetres across the surface."""
    share: Floats = np.clip(0.5 + (1 - level) * np.float32(radius / edge), 0, 1)
    return share


def _image(
    scene: _Scene, stars: tuple[Star, Star], levels: tuple[Floats, Floats], blobs: list[_Blob]
) -> Floats:
    """All channels, as whole numbers."""
    edge = 1.5 * max(scene.spacing[-2:])
    body, organ = (_share(level, star.radius, edge) for star, level in zip(stars, levels, strict=True))
    contrast = _contrast(scene, blobs, edge)
    channels = [
        _channel(scene, index, (body, organ, contrast)) for index in range(len(scene.settings.channels))
    ]
    image: Floats = np.maximum(np.rint(np.stack(channels) * np.float32(INTENSITY_UNIT)), 0)
    return image


def _contrast(scene: _Scene, blobs: list[_Blob], edge: float) -> Floats:
    """What the blobs add to the brightness of their surroundings."""
    contrast = np.zeros(scene.shape, np.float32)
    for blob in blobs:
        box = _box(scene, blob.star, margin=edge)
        share = _share(blob.star.level(_cut(scene, box)), blob.star.radius, edge)
        contrast[box] = np.maximum(contrast[box], np.float32(blob.contrast) * share)
    return contrast


def _channel(scene: _Scene, index: int, layers: tuple[Floats, Floats, Floats]) -> Floats:
    """One channel: tissues, texture, bias field, noise."""
    settings, rng = scene.settings, scene.stream(f"channel {index}")
    body, organ, contrast = layers
    air_value, body_value, organ_value, sign = _TISSUES[index % len(_TISSUES)]
    brightness = air_value + (body_value - air_value) * body + (organ_value - body_value) * organ
    texture = smooth_field(rng, scene.shape, tuple(max(n // 5, 2) for n in scene.shape))
    brightness += sign * contrast + settings.texture * texture * np.maximum(body, organ)
    bias = np.exp(settings.bias * smooth_field(rng, scene.shape, (2,) * len(scene.shape)))
    noise = rng.standard_normal(scene.shape, dtype=np.float32)
    channel: Floats = brightness * bias + np.float32(settings.noise) * noise
    return channel


def _draw_pose(scene: _Scene) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Origin and direction, x first: the patient's axes, slightly tilted, as in a real scan."""
    if scene.settings.ending == ".png":
        return (0.0, 0.0), (1.0, 0.0, 0.0, 1.0)
    rng, dimension = scene.stream("pose"), len(scene.shape)
    origin = tuple(round(float(x), 3) for x in rng.uniform(-120, 120, dimension))
    tilt, _ = np.linalg.qr(np.eye(dimension) + rng.uniform(-0.08, 0.08, (dimension, dimension)))
    tilt *= np.sign(np.diag(tilt))
    axes = np.diag([-1.0, -1.0, 1.0][:dimension])  # NIfTI's own axes: x to the right, y to the front, z up
    return origin, tuple(float(x) for x in (axes @ tilt).ravel())
