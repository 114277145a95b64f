"""Probabilities of nnU-Net's ``--save_probabilities``: an array (channels, z, y, x) for each case."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from .labels import Label, LabelSet

KEY = "probabilities"
_ROUNDED = 1e-5  # by which a sum of rounded probabilities may exceed 1
_HALF_PRECISION = 0.01  # by which the channels' sum may differ from 1


def read_probabilities(
    file: Path, labels: LabelSet, shape: tuple[int, ...], described: LabelSet | None
) -> dict[str, NDArray[np.floating]]:
    """Read the probability of each label.

    Args:
        file: nnU-Net's ``CASE.npz``.
        labels: that are asked for.
        shape: of the masks, (y, x) or (z, y, x).
        described: labels of the model's ``dataset.json``, which say what the channels are; None: unknown.

    Raises:
        OSError, zipfile.BadZipFile: the file cannot be read.
        ValueError: there is none, or it holds no probabilities of this shape, or none of a label.
    """
    stored = _stored(file)
    if stored.shape[1:] not in (shape, (1, *shape)):
        raise ValueError(f"{file.name} has the shape {stored.shape}, the mask {shape}; both end in z, y, x")
    if not bool(np.all((stored >= 0) & (stored <= 1 + _ROUNDED))):
        raise ValueError(f"{file.name} holds values that are not from 0 to 1")
    channels = np.minimum(stored, 1).reshape(stored.shape[0], *shape)
    return by_label(channels, labels, described)


def by_label(
    channels: NDArray[np.floating], labels: LabelSet, described: LabelSet | None
) -> dict[str, NDArray[np.floating]]:
    """Find the probability of each label among a model's channels.

    Channels of a model with regions are its labels, in ``dataset.json``'s order; those of any other model are
    the values from 0, and a label of several values has the sum. Where nobody says, they are values when
    they sum to 1.

    Args:
        channels: (channels, *spatial).
        labels: that are asked for.
        described: labels of the model's ``dataset.json``; None: unknown.

    Raises:
        ValueError: no channel belongs to a label.

    Example:
        >>> from nnunet_losses.serve.metrics import LabelSet
        >>> labels = LabelSet.of_options(["whole=1,2"])
        >>> by_label(np.array([[0.5], [0.25], [0.25]]), labels, None)["whole"]
        array([0.5])
    """
    regions = described
    if described is None:
        exclusive = np.allclose(channels.sum(axis=0), 1, atol=_HALF_PRECISION)
        regions = labels if labels.by_region and not exclusive else None
    if regions is not None and regions.by_region:
        places = {frozenset(label.members): index for index, label in enumerate(regions.labels)}
        return {label.name: channels[_place(label, places, len(channels))] for label in labels.labels}
    return {label.name: _sum(label, channels) for label in labels.labels}


def _stored(file: Path) -> NDArray[np.floating]:
    if not file.is_file():
        raise ValueError(f"there is no {file.name} in {file.parent}")
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file.name} is damaged, or not NumPy's .npz")
    with np.load(file, allow_pickle=False) as content:
        if KEY not in content:
            raise ValueError(f"{file.name} holds {sorted(content)}, not {KEY!r}")
        stored: NDArray[np.floating] = content[KEY]
    return stored


def _place(label: Label, places: Mapping[frozenset[int], int], channels: int) -> int:
    place = places.get(frozenset(label.members))
    if place is None or len(places) != channels:
        known = sorted(sorted(members) for members in places)
        raise ValueError(f"of {channels} channels for the regions {known}, none is that of {label.name!r}")
    return place


def _sum(label: Label, channels: NDArray[np.floating]) -> NDArray[np.floating]:
    if max(label.members) >= len(channels):
        raise ValueError(f"there are {len(channels)} channels, none for the value {max(label.members)}")
    if len(label.members) == 1:
        one: NDArray[np.floating] = channels[label.members[0]]
        return one
    several: NDArray[np.floating] = np.minimum(channels[list(set(label.members))].sum(axis=0), 1)
    return several
