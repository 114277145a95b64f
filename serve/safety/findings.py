"""What is unlike the known cases, in sentences: what was seen, and what the known cases look like."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import Evidence
from nnunet_losses.serve.pipeline.agreement import ENTROPY, FOLDS, MIRRORS

from .learnt import guess_unit, tails

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .learnt import LearntContract, Range
    from .scores.observation import Observation

    Describe = Callable[[str, LearntContract, Observation], Evidence]

AXES = ("z", "y", "x")
# beyond a known range by so much, or it means nothing: share, degrees, share, correlation, share of a width
RATIO, DEGREES, SHARE, CORRELATION, WIDTH = 1.01, 1.0, 0.01, 0.05, 0.1


def findings(
    learnt: LearntContract, observation: Observation, names: Sequence[str] | None = None
) -> dict[str, Evidence]:
    """Describe a case in each respect in which it can be strange.

    Args:
        learnt: what the known cases look like.
        observation: of the case; what it has not is not described.
        names: of scores; None takes all that are known, and others are left out.

    Returns:
        By score: what was seen and expected, and whether anything lies outside of everything known.
    """
    chosen = DESCRIPTIONS if names is None else [name for name in names if name in DESCRIPTIONS]
    return {name: DESCRIPTIONS[name](name, learnt, observation) for name in chosen}


def _spacing(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    return _lengths(name, "The voxels are", case.grid.spacing, learnt.spacing)


def _extent(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    return _lengths(name, "The imaged region is", case.grid.extent, learnt.extent)


def _lengths(name: str, what: str, lengths: Sequence[float], known: Sequence[Range]) -> Evidence:
    inside = [
        k.smallest / RATIO <= length <= k.largest * RATIO for length, k in zip(lengths, known, strict=True)
    ]
    axes = [axis for axis, is_inside in enumerate(inside) if not is_inside] or range(3)
    seen = ", ".join(f"{lengths[axis]:.3g} ({AXES[axis]})" for axis in axes)
    usual = ", ".join(f"{_span(known[axis])} ({AXES[axis]})" for axis in axes)
    message = f"{what} {seen} mm large; in the known images {usual} mm."
    return _evidence(name, message, list(lengths), [_plain(k) for k in known], outside=not all(inside))


def _obliqueness(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    angle, known = case.grid.obliqueness, learnt.obliqueness
    message = f"The image is tilted by {angle:.0f} degrees; the known images by {_span(known)} degrees."
    return _evidence(name, message, angle, _plain(known), outside=not _holds(known, angle, DEGREES))


def _orientation(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    code, known = case.grid.orientation, learnt.orientations
    usual = ", ".join(f"{other} ({count} of {learnt.cases})" for other, count in known.items())
    message = (
        f"The image's axes run towards {', '.join(code)}; those of the known images: {usual}. The model "
        "knows nothing of orientation: to it, the body is turned or mirrored."
    )
    return _evidence(name, message, code, known, outside=code not in known)


def _nonzero(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    shares, known = [float(share) for share in case.nonzero], [channel.nonzero for channel in learnt.channels]
    inside = [_holds(k, share, SHARE) for k, share in zip(known, shares, strict=True)]
    index = inside.index(False) if False in inside else 0
    message = (
        f"{learnt.channels[index].name}: {shares[index]:.0%} of the voxels are not zero; in the known images "
        f"{known[index].smallest:.0%} to {known[index].largest:.0%}. Masking or field of view may differ."
    )
    return _evidence(name, message, shares, [_plain(k) for k in known], outside=not all(inside))


def _raw_histogram(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    """The channel whose range or unit is unknown; else the first."""
    seen = [(*tails(values), guess_unit(values)) for values in case.raw]
    strange = [_is_strange(channel, *own) for channel, own in zip(learnt.channels, seen, strict=True)]
    index = strange.index(True) if True in strange else 0
    channel, (low, high, unit) = learnt.channels[index], seen[index]
    message = (
        f"{channel.name} has intensities from {low:.4g} to {high:.4g}; in the known images from "
        f"{_span(channel.low)} to {_span(channel.high)}."
    )
    if unit not in channel.units:
        message += f" They look like {unit}; the known images like {' or '.join(channel.units)}."
    observed = [{"low": own[0], "high": own[1], "unit": own[2]} for own in seen]
    expected = [{"low": _plain(c.low), "high": _plain(c.high), "units": c.units} for c in learnt.channels]
    return _evidence(name, message, observed, expected, outside=any(strange))


def _is_strange(channel: Any, low: float, high: float, unit: str) -> bool:
    margin = WIDTH * max(channel.high.median - channel.low.median, 0.0)
    is_inside = _holds(channel.low, low, margin) and _holds(channel.high, high, margin)
    return unit not in channel.units or not is_inside


def _preprocessed_histogram(name: str, learnt: LearntContract, case: Observation) -> Evidence:  # noqa: ARG001 - as all
    message = (
        "Contrast is distributed otherwise than in the known images, also after the model's normalisation: "
        "another sequence, contrast agent, field of view, or an artefact."
    )
    return _evidence(name, message)


def _texture(name: str, learnt: LearntContract, case: Observation) -> Evidence:  # noqa: ARG001 - as all
    message = (
        "Sharpness, noise, or regular patterns differ from the known images: another reconstruction or slice "
        "thickness, motion, ghosts, or an image that was processed."
    )
    return _evidence(name, message)


def _correlations(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    names = [channel.name for channel in learnt.channels]
    pairs = list(zip(combinations(names, 2), _pairs(case), learnt.correlations, strict=True))
    outside = [
        pair
        for pair in pairs
        if pair[2] and not np.isnan(pair[1]) and not _holds(pair[2], pair[1], CORRELATION)
    ]
    if not pairs:
        return _evidence(name, "There is one channel.")
    (first, second), value, known = (outside or pairs)[0]
    usual = "unknown" if known is None else _span(known)
    message = (
        f"{first} and {second} correlate by {value:.2f}; in the known images {usual}. "
        "One may have been sent twice, or for the other, or the patient moved between them."
    )
    expected = [None if k is None else _plain(k) for _, _, k in pairs]
    return _evidence(name, message, [v for _, v, _ in pairs], expected, outside=bool(outside))


def _pairs(case: Observation) -> Iterator[float]:
    rows, columns = np.triu_indices(len(case.correlations), 1)
    return (float(value) for value in case.correlations[rows, columns])


def _features(name: str, learnt: LearntContract, case: Observation) -> Evidence:  # noqa: ARG001 - as all
    message = (
        "The network responds to the image as to none of the known ones: sharpness, noise, artefacts or "
        "anatomy may be different."
    )
    return _evidence(name, message)


def _foreground_features(name: str, learnt: LearntContract, case: Observation) -> Evidence:  # noqa: ARG001 - as all
    return _evidence(name, "What was marked looks to the network unlike what it marks in the known images.")


def _volume(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    return _found(
        name,
        learnt,
        case,
        "volumes",
        "volume",
        "{label} is {seen:.4g} mm³ large; in the known images {usual} mm³.",
    )


def _components(name: str, learnt: LearntContract, case: Observation) -> Evidence:
    return _found(
        name,
        learnt,
        case,
        "components",
        "components",
        "{label} has {seen:.0f} parts; in the known images {usual}.",
    )


def _found(
    name: str, learnt: LearntContract, case: Observation, of: str, known_as: str, text: str
) -> Evidence:
    if case.found is None or not learnt.labels:
        return _evidence(name, "What was marked is unlike what is marked in the known images.")
    values = [float(value) for value in getattr(case.found, of)]
    known = [getattr(label, known_as) for label in learnt.labels]
    inside = [_holds(k, value, 0.0) for k, value in zip(known, values, strict=True)]
    index = inside.index(False) if False in inside else 0
    message = text.format(label=learnt.labels[index].name, seen=values[index], usual=_span(known[index]))
    return _evidence(name, message, values, [_plain(k) for k in known], outside=not all(inside))


def _place(name: str, learnt: LearntContract, case: Observation) -> Evidence:  # noqa: ARG001 - as all
    places = (
        None
        if case.found is None
        else [[None if np.isnan(v) else float(v) for v in row] for row in case.found.places]
    )
    return _evidence(
        name, "Something was marked in another place of the body than in the known images.", places
    )


def _holds(known: Range, value: float, margin: float) -> bool:
    return known.smallest - margin <= value <= known.largest + margin


def _span(known: Range) -> str:
    low, high = f"{known.smallest:.4g}", f"{known.largest:.4g}"
    return low if low == high else f"{low} to {high}"


def _plain(known: Range) -> list[float]:
    return [known.smallest, known.largest]


def _evidence(
    name: str, message: str, observed: Any = None, expected: Any = None, *, outside: bool = False
) -> Evidence:
    return Evidence(name=name, message=message, observed=observed, expected=expected, outside=outside)


def _doubt(name: str, learnt: LearntContract, case: Observation, *, text: str) -> Evidence:  # noqa: ARG001 - as all
    value = (case.doubts or {}).get(name, 0.0)
    return _evidence(name, text.format(value), value)


DESCRIPTIONS: dict[str, Describe] = {
    "histogram.raw": _raw_histogram,
    "histogram.preprocessed": _preprocessed_histogram,
    "texture": _texture,
    "features.global": _features,
    "features.foreground": _foreground_features,
    "geometry.spacing": _spacing,
    "geometry.extent": _extent,
    "geometry.obliqueness": _obliqueness,
    "geometry.orientation": _orientation,
    "content.nonzero": _nonzero,
    "channels.correlation": _correlations,
    "prediction.volume": _volume,
    "prediction.components": _components,
    "prediction.place": _place,
    MIRRORS: partial(
        _doubt, text="The mirrored passes disagree more than usual: a share of {:.1%} of what they mark."
    ),
    FOLDS: partial(_doubt, text="The folds disagree more than usual: a share of {:.1%} of what they mark."),
    ENTROPY: partial(
        _doubt, text="What was marked is more open than usual: {:.1%} of the largest possible entropy."
    ),
}
"""A sentence for every score."""
