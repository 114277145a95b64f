"""Pictures of a case: image, outlines of the reference and of a prediction."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCE = "#56B4E9"  # sky blue and orange of Okabe and Ito: apart for every kind of colour vision
PREDICTION = "#E69F00"
_SIDE = 2.6  # inches
_RESOLUTION = 130


def slice_to_show(volume: NDArray[np.generic], reference: NDArray[np.generic]) -> int:
    """Index of the slice with most of the reference in it; the middle where there is none."""
    areas = (reference > 0).sum(axis=(1, 2))
    return int(areas.argmax()) if areas.any() else len(volume) // 2


def draw(
    image: NDArray[np.generic],
    *,
    reference: NDArray[np.generic] | None = None,
    prediction: NDArray[np.generic] | None = None,
) -> str:
    """Draw a two-dimensional image with outlines, as a data URI.

    The reference is dashed and the prediction solid, so that they differ without colour, too.
    """
    height, width = image.shape
    figure = Figure(figsize=(_SIDE * width / max(image.shape), _SIDE * height / max(image.shape)))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = np.percentile(image, (1, 99.5))
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1), interpolation="nearest", aspect="auto")
    if prediction is not None and prediction.any():
        axes.contour(prediction > 0, levels=[0.5], colors=PREDICTION, linewidths=2.2)
    if reference is not None and reference.any():
        axes.contour(reference > 0, levels=[0.5], colors=REFERENCE, linewidths=1.6, linestyles=[(0, (3, 2))])
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=_RESOLUTION)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
