"""The suite of damages: each with three strengths, and with what may be expected of a model that sees it.

The table is fixed before any score is computed on it: a suite that is chosen after the scores proves nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from . import acquisition, content, space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.random import Generator

    from nnunet_losses.serve.image import Image

    Damage = Callable[[Image, Any, Generator], Image]


class Family(StrEnum):
    """What kind of damage; choices of method are made leaving one family out."""

    ACQUISITION = "acquisition"
    SPACE = "space"
    UNIT = "unit"
    CHANNELS = "channels"
    CONTENT = "content"
    CONTRACT = "contract"


@dataclass(frozen=True)
class Corruption:
    """One damage.

    Attributes:
        key: its name.
        title: what it is, in words.
        family: its kind.
        strengths: mild, middle, strong; of one, where there are no degrees.
        damage: takes image, strength and random generator.
        channels: fewest channels that it needs.
        volumes_only: it has no meaning for pictures.
        undetectable: why it may be impossible to see in principle; None where it should be seen.
    """

    key: str
    title: str
    family: Family
    strengths: tuple[Any, ...]
    damage: Damage
    channels: int = 1
    volumes_only: bool = False
    undetectable: str | None = None

    def applies_to(self, image: Image) -> bool:
        """Whether the damage has a meaning for the image."""
        enough = len(image.data) >= self.channels
        return enough and not (self.volumes_only and image.geometry.dimension == 2)

    def apply(self, image: Image, severity: int, *, case: str) -> Image:
        """Damage an image. The same case, damage and severity always give the same voxels.

        Args:
            image: not changed.
            severity: 0 to ``len(strengths) - 1``.
            case: name of the case, which seeds the chance.

        Raises:
            IndexError: for a severity that there is not.
        """
        words = f"{case}/{self.key}/{severity}".encode()
        random = np.random.default_rng(list(hashlib.sha256(words).digest()))
        return self.damage(image, self.strengths[severity], random)


def damages(image: Image) -> Iterator[tuple[Corruption, int]]:
    """Every corruption that applies to an image, with every severity."""
    for corruption in SUITE:
        if corruption.applies_to(image):
            for severity in range(len(corruption.strengths)):
                yield corruption, severity


def _each_channel(function: Callable[[Any, float, Generator], Any]) -> Damage:
    def damage(image: Image, strength: float, random: Generator) -> Image:
        return replace(image, data=np.stack([function(voxels, strength, random) for voxels in image.data]))

    return damage


def _scanner(name: str, title: str, *strengths: float) -> Corruption:
    function = _each_channel(getattr(acquisition, name))
    return Corruption(name, title, Family.ACQUISITION, strengths, function)


def _flip(axis: int, name: str, *, told: bool) -> Corruption:
    how, says = ("told", "and the header tells") if told else ("silent", "the header does not tell")
    return Corruption(
        f"flip_{name}_{how}",
        f"mirrored along {name}, {says}",
        Family.SPACE,
        (axis,),
        lambda image, strength, _: space.flip(image, strength, told=told),
        volumes_only=axis == 0,
        undetectable=None if told else "a mirrored symmetric body looks like another one, and networks are "
        "trained with mirrored images",
    )  # fmt: skip


def _swap(order: tuple[int, int, int], name: str, *, told: bool) -> Corruption:
    how, says = ("told", "and the header tells") if told else ("silent", "the header does not tell")
    return Corruption(
        f"swap_{name}_{how}",
        f"axes {' and '.join(name)} swapped, {says}",
        Family.SPACE,
        (order,),
        lambda image, strength, _: space.swap_axes(image, strength, told=told),
        volumes_only=order[0] != 0,
    )


def _plain(
    key: str, title: str, family: Family, function: Callable[..., Image], *strengths: Any, **more: Any
) -> Corruption:
    def damage(image: Image, strength: Any, random: Generator) -> Image:  # noqa: ARG001 - without chance
        return function(image) if strength is None else function(image, strength)

    return Corruption(key, title, family, strengths or (None,), damage, **more)


SUITE: tuple[Corruption, ...] = (
    _scanner("noise", "noise", 0.1, 0.25, 0.5),
    _scanner("bias_field", "bias field", 0.2, 0.6, 0.8),
    _scanner("ghosting", "ghosts of motion", 0.3, 0.6, 0.9),
    _scanner("spike", "a spike in Fourier space", 0.15, 0.4, 0.8),
    _scanner("blur", "blur", 1.0, 2.0, 4.0),
    _scanner("gamma", "gamma", 0.8, 0.6, 0.4),
    _scanner("low_resolution", "thick slices", 2, 4, 8),
    _scanner("occlusion", "something black in the way", 0.2, 0.35, 0.5),
    _scanner("inversion", "inverted contrast", 0.6, 0.8, 1.0),
    Corruption("crop_field", "cropped field of view", Family.SPACE, (0.75, 0.5, 0.25), space.crop_field),
    *(_flip(axis, name, told=told) for told in (True, False) for axis, name in enumerate("zyx")),
    *(
        _swap(order, name, told=told)
        for told in (True, False)
        for order, name in (((1, 0, 2), "zy"), ((2, 1, 0), "zx"), ((0, 2, 1), "yx"))
    ),
    _plain("spacing", "wrong spacing in the header", Family.SPACE, space.scale_spacing, 0.5, 2.0, 10.0),
    _plain("unit_range", "intensities brought to 0 to 1", Family.UNIT, content.to_unit_range),
    _plain("unit_bytes", "intensities brought to 0 to 255", Family.UNIT, content.to_bytes),
    _plain("unit_shift", "1024 added to the intensities", Family.UNIT, content.shifted, 1024.0,
           undetectable="normalisation by the image's own mean takes it out again; nothing changes"),
    _plain("unit_scale", "intensities multiplied", Family.UNIT, content.scaled, 0.5, 0.1, 0.01,
           undetectable="normalisation by the image's own deviation takes it out again; nothing changes"),
    _plain("swapped_channels", "channels in the opposite order", Family.CHANNELS, content.swapped_channels,
           channels=2),
    _plain("doubled_channel", "one channel in place of all", Family.CHANNELS, content.doubled_channel,
           channels=2),
    _plain("blank_channel", "a channel blank", Family.CONTRACT, content.blank_channel, channels=2),
    Corruption("white_noise", "its voxels in random places", Family.CONTENT, (None,),
               lambda image, _, random: content.white_noise(image, random)),
    Corruption("clouds", "clouds with its histogram", Family.CONTENT, (None,),
               lambda image, _, random: content.clouds(image, random)),
    _plain("checkerboard", "a checkerboard", Family.CONTENT, content.checkerboard, 2, 8, 16),
    _plain("blank", "a blank image", Family.CONTRACT, content.constant, 0.0),
    _plain("constant", "an image of one value", Family.CONTRACT, content.constant, 100.0),
    Corruption("not_a_number", "voxels without a value", Family.CONTRACT, (1e-6, 1e-3, 0.1),
               content.not_a_number),
    _plain("one_slice", "the middle slice alone", Family.CONTENT, space.one_slice, volumes_only=True),
)  # fmt: skip
"""Every damage of the suite."""

CORRUPTIONS = {corruption.key: corruption for corruption in SUITE}
"""The suite, by key."""
