"""Where losses fail: images with the outlines of reference and prediction, as pictures inside of a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Picture
from scipy import ndimage

from nnunet_losses.compare.outcomes import WITH_EMPTIES
from nnunet_losses.compare.statistics import case_means
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.metrics.conventions import Metric
from nnunet_losses.serve.metrics.pairs import reader_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.compare.outcomes import Comparison, Key, Run
    from nnunet_losses.compare.sets import Case, ImageSet
    from nnunet_losses.serve.metrics.labels import Label

_SIDE = 168  # pixels of a picture
_REFERENCE = (60, 220, 110)
_PREDICTION = (255, 60, 150)


@dataclass(frozen=True)
class Overlay:
    """One picture: ``source`` for an ``img`` element, and what stands below it."""

    source: str
    words: str


@dataclass(frozen=True)
class Row:
    """One case: why it is shown, and a picture for each loss."""

    case: str
    why: str
    overlays: tuple[Overlay, ...]


def worst_cases(
    comparison: Comparison, sets: Sequence[ImageSet], output: Path, label: Label, *, each: int = 3
) -> Iterator[Row]:
    """Show cases that all losses do badly on, those on which they differ most, and false alarms.

    Args:
        comparison: the figures.
        sets: with the files of the images.
        output: folder of the comparison, with the masks.
        label: that is reported.
        each: how many of each kind.
    """
    files = {(images.role, case.name): case for images in sets for case in images.cases}
    for key, why in _chosen(comparison, each):
        if key not in files:
            continue
        drawn = _Drawing(files[key], label)
        overlays = []
        for outcome in comparison.outcomes:
            run = next((one for one in outcome.runs if key in one.cases), None)
            if run is not None:
                overlays.append(_overlay(drawn, run, key, output, outcome.title))
        yield Row(key[1], why, tuple(overlays))


def _chosen(comparison: Comparison, each: int) -> Iterator[tuple[Key, str]]:
    """Cases to show; each once."""
    table = np.stack(
        [case_means(comparison.values(one, Metric.DICE, WITH_EMPTIES)) for one in comparison.outcomes]
    )
    volumes = np.stack(
        [
            case_means(comparison.table(one, lambda _, case: case.counts.fp * (not case.present)))
            for one in comparison.outcomes
        ]
    )
    present = np.array([case.present for case in comparison.references()], bool)
    mean, spread, painted = table.mean(axis=0), np.ptp(table, axis=0), volumes.mean(axis=0)
    seen: set[int] = set()
    kinds = (
        (np.where(present, -mean, -np.inf), "worst for all losses together"),
        (np.where(present, spread, 0.0), "losses differ most"),
        (painted, "nothing to find, painted most"),
    )
    for scores, why in kinds:
        order = [int(index) for index in np.argsort(-scores, kind="stable") if index not in seen]
        for index in order[:each]:
            if np.isfinite(scores[index]) and (scores[index] > 0 or scores is kinds[0][0]):
                seen.add(index)
                yield comparison.keys[index], why


def _overlay(drawn: _Drawing, run: Run, key: Key, output: Path, title: str) -> Overlay:
    role, name = key
    folder = run.result.cell.folder(output) / "masks" / role.value
    mask = next((file for file in folder.glob(f"{name}.*") if file.suffix not in (".npz", ".pkl")), None)
    result = run.cases[key]
    if result.present:
        words = f"{title} {result.value(Metric.DICE, WITH_EMPTIES):.2f}"
    else:
        words = f"{title} {'painted' if result.counts.predicted else 'empty'}"
    return Overlay(drawn.source(mask), words)


class _Drawing:
    """One slice of a case: that with most of the label, or the middle one."""

    def __init__(self, case: Case, label: Label) -> None:
        assert case.reference is not None, "only judged cases are shown"
        self._label = label
        self._reference = self._read_mask(case.reference)
        self._index = (
            int(np.argmax(self._reference.sum(axis=(1, 2))))
            if self._reference.any()
            else len(self._reference) // 2
        )
        image = read_image(list(case.images), reader=reader_of(case.images[0], None)).data
        self._background = _as_picture(image[:, self._index])

    def source(self, mask: Path | None) -> str:
        """Picture with the outlines of a mask's file and of the reference, as a data URL."""
        pixels = self._background.copy()
        scale = pixels.shape[0] / self._reference.shape[1]
        if mask is not None:
            predicted = _enlarged(self._read_mask(mask)[self._index], pixels.shape[:2])
            pixels[predicted] = (0.75 * pixels[predicted] + 0.25 * np.array(_PREDICTION)).astype(np.uint8)
            pixels[_outline(predicted)] = _PREDICTION
        assert scale > 0, "images have an extent"
        pixels[_outline(_enlarged(self._reference[self._index], pixels.shape[:2]))] = _REFERENCE
        file = io.BytesIO()
        Picture.fromarray(pixels).save(file, format="WEBP", quality=80)
        return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"

    def _read_mask(self, file: Path) -> NDArray[np.bool_]:
        data: Any = read_image([file], reader=reader_of(file, None)).data[0]
        return self._label.mask(data)


def _as_picture(channels: NDArray[Any]) -> NDArray[np.uint8]:
    """RGB (side, side, 3) of three channels, or grey of the first; the longer side is ``_SIDE``."""
    chosen = channels if len(channels) == 3 else np.repeat(channels[:1], 3, axis=0)
    low, high = np.percentile(chosen, [0.5, 99.5])
    scaled = np.clip((chosen - low) / max(float(high - low), 1e-6) * 255, 0, 255).astype(np.uint8)
    height, width = scaled.shape[1:]
    factor = _SIDE / max(height, width)
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    picture = Picture.fromarray(np.moveaxis(scaled, 0, -1)).resize(size, Picture.Resampling.BICUBIC)
    return np.array(picture)


def _enlarged(mask: NDArray[np.bool_], shape: Sequence[int]) -> NDArray[np.bool_]:
    picture = Picture.fromarray(mask.astype(np.uint8) * 255)
    return np.array(picture.resize((shape[1], shape[0]), Picture.Resampling.NEAREST)) > 127


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    eroded: NDArray[np.bool_] = ndimage.binary_erosion(mask, iterations=1, border_value=1)
    return mask & ~eroded


def legend() -> Mapping[str, str]:
    """Colours of the outlines, for the page."""
    return {
        name: f"rgb({red},{green},{blue})"
        for name, (red, green, blue) in (("reference", _REFERENCE), ("prediction", _PREDICTION))
    }
