"""A picture of the mask over the image: three planes, or the picture itself, with a legend.

It is drawn as radiologists look: the patient's right is on the left. Labels are outlined and tinted in
colours that colour-blind people can tell apart, and named in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from nnunet_losses.serve.formats.turning import Turn, orientation_of, own_grid
from nnunet_losses.serve.formats.writing import replacing

from .colours import colour
from .kinds import ENDINGS, OutputKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .answered import Answered

SIDE = 384  # pixels of a plane's longer side
LARGEST_PICTURE = 1024
MARGIN = 12
LINE = 22
TINT = 0.35
WINDOW = (0.5, 99.5)  # percentiles that become black and white
SAMPLED = 1_000_000
# letters at the left, right, top and bottom of axial, coronal and sagittal planes
LETTERS = (("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I"))
TITLES = ("axial", "coronal", "sagittal")


def write_overlay(answered: Answered) -> Sequence[Path]:
    """Write the overlay. It shows the image and the labels' names, and nothing of the patient's data."""
    is_picture = answered.image.geometry.dimension == 2
    panels = [_picture(answered)] if is_picture else _planes(answered)
    path = answered.path(ENDINGS[OutputKind.PNG])
    with replacing(path) as temporary:
        _sheet(panels, _legend(answered)).save(temporary, format="PNG", optimize=True)
    return [path]


def _planes(answered: Answered) -> list[Pillow.Image]:
    """Axial, coronal and sagittal, where most is marked."""
    mask, geometry = answered.own
    voxels, _ = own_grid(answered.image.data[0], answered.image.geometry)
    turn = Turn.between(orientation_of(geometry), "LPS")
    mask, voxels = turn.voxels(mask), turn.voxels(voxels)
    x, y, z = (geometry.spacing[axis] for axis in turn.axes)
    labels = [np.asarray(label.members, mask.dtype) for label in answered.description.labels]
    window = _window(voxels)
    sizes = ((y, x), (z, x), (z, y))
    panels = []
    for axis, (size, letters, title) in enumerate(zip(sizes, LETTERS, TITLES, strict=True)):
        number = _fullest(mask, axis)
        plane, marked = (np.take(volume, number, axis) for volume in (voxels, mask))
        if axis > 0:  # the head is up
            plane, marked = plane[::-1], marked[::-1]
        grey = np.repeat(_scaled(plane, window)[..., None], 3, axis=2)
        inside = [np.isin(marked, members) for members in labels]
        panel = _drawn(grey, inside, _zoom(plane.shape, size, SIDE))
        panels.append(_lettered(panel, letters, f"{title} {number + 1}/{mask.shape[axis]}"))
    return panels


def _picture(answered: Answered) -> Pillow.Image:
    data = answered.image.data[:, 0]
    shown = data[:3] if len(data) >= 3 else np.repeat(data[:1], 3, axis=0)
    scaled = np.stack([_scaled(channel, _window(shown)) for channel in shown], axis=-1)
    inside = [inside[0] for _, _, inside in answered.labels()]
    shape = scaled.shape[:2]
    return _drawn(scaled, inside, _zoom(shape, (1.0, 1.0), min(LARGEST_PICTURE, max(SIDE, *shape))))


def _fullest(mask: NDArray[Any], axis: int) -> int:
    others = tuple(other for other in range(3) if other != axis)
    counts = np.count_nonzero(mask, axis=others)
    return int(counts.argmax()) if counts.any() else mask.shape[axis] // 2


def _window(voxels: NDArray[Any]) -> tuple[float, float]:
    sample = voxels.ravel()[:: max(1, voxels.size // SAMPLED)]
    low, high = np.percentile(sample, WINDOW)
    return float(low), float(high if high > low else low + 1)


def _scaled(plane: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = window
    share = np.clip((plane.astype(np.float32) - low) / (high - low), 0, 1)
    return np.asarray(share * 255).astype(np.uint8)


def _zoom(shape: Sequence[int], size: Sequence[float], side: int) -> tuple[int, int]:
    """Pixels (width, height) that show (rows, columns) of that size in millimetres in proportion."""
    height, width = shape[0] * size[0], shape[1] * size[1]
    scale = side / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _drawn(
    grey: NDArray[np.uint8], inside: Sequence[NDArray[np.bool_]], zoom: tuple[int, int]
) -> Pillow.Image:
    shown = Pillow.fromarray(np.ascontiguousarray(grey)).resize(zoom, Pillow.Resampling.BILINEAR)
    canvas = np.asarray(shown).astype(np.float32)
    for index, region in enumerate(inside):
        image = Pillow.fromarray(np.ascontiguousarray(region).astype(np.uint8) * 255)
        marked = np.asarray(image.resize(zoom, Pillow.Resampling.NEAREST)) > 0
        paint = np.array(colour(index), np.float32)
        canvas[marked] += TINT * (paint - canvas[marked])
        canvas[_edge(marked)] = paint
    return Pillow.fromarray(canvas.round().astype(np.uint8))


def _edge(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a region with a neighbour outside of it."""
    padded = np.pad(marked, 1)
    neighbours = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.asarray(marked & ~np.logical_and.reduce(neighbours))


def _lettered(panel: Pillow.Image, letters: Sequence[str], title: str) -> Pillow.Image:
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(15)
    width, height = panel.size
    left, right, top, bottom = letters
    places = (
        ((4, height / 2), left, "lm"),
        ((width - 4, height / 2), right, "rm"),
        ((width / 2, 3), top, "ma"),
        ((width / 2, height - 3), bottom, "md"),
        ((4, 3), title, "la"),
    )
    for place, text, anchor in places:
        draw.text(place, text, "white", font, anchor, stroke_width=1, stroke_fill="black")
    return panel


def _legend(answered: Answered) -> list[tuple[tuple[int, int, int] | None, str]]:
    lines: list[tuple[tuple[int, int, int] | None, str]] = [(None, _words(answered))]
    volumes = {label.name: label.volume_ml for label in answered.answer.labels}
    for index, label, inside in answered.labels():
        amount = "not marked" if not inside.any() else _amount(int(inside.sum()), volumes.get(label.name))
        lines.append((colour(index), f"{label.name}: {amount}"))
    return lines


def _amount(voxels: int, volume: float | None) -> str:
    return f"{voxels:,} pixels" if volume is None else f"{volume:.4g} ml"


def _words(answered: Answered) -> str:
    answer = answered.answer
    verdict = answer.distribution.verdict.value.replace("_", " ")
    return f"{answer.outcome.value}; input: {verdict}. Not for diagnosis."


def _sheet(
    panels: Sequence[Pillow.Image], legend: Sequence[tuple[tuple[int, int, int] | None, str]]
) -> Pillow.Image:
    """Planes side by side, and the legend below them."""
    font = ImageFont.load_default(15)
    above = max(panel.height for panel in panels) + 2 * MARGIN
    written = max(font.getlength(text) for _, text in legend) + 2 * MARGIN + LINE
    width = max(sum(panel.width + MARGIN for panel in panels) + MARGIN, int(written))
    sheet = Pillow.new("RGB", (width, above + LINE * len(legend) + MARGIN), "black")
    draw, left = ImageDraw.Draw(sheet), MARGIN
    for panel in panels:
        sheet.paste(panel, (left, MARGIN))
        left += panel.width + MARGIN
    for number, (paint, text) in enumerate(legend):
        top = above + number * LINE
        if paint is not None:
            draw.rectangle((MARGIN, top + 3, MARGIN + 14, top + 17), fill=paint)
        draw.text((MARGIN + (LINE if paint is not None else 0), top + 2), text, "white", font)
    return sheet
