"""Ways to be faster that nnU-Net would not go: only on demand, and each named in the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .answer import Warning_
from .backends import TileOutput
from .bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from .backends import TileNetwork
    from .schema import Member

OPTIONS = ("step", "mirror", "skip_background")  # names of a request's fields
_SWITCH = {"true": True, "false": False, "1": True, "0": False}
SMALLEST_STEP, LARGEST_STEP = 0.1, 1.0
REMEMBERED_TILES = 4  # different constant tiles whose logits are kept


@dataclass(frozen=True)
class Approximations:
    """What a user gave up for speed.

    Args:
        step: distance of the tiles, as a share of the patch; None leaves it as nnU-Net has it (0.5).
        mirror: whether the network also looks at mirrored tiles, where it was trained for that.
        skip_background: whether tiles without any content are looked at once only.

    Raises:
        ValueError: for a step outside of 0.1 to 1.

    Example:
        >>> Approximations(step=0.75, mirror=False)
        Approximations(step=0.75, mirror=False, skip_background=False)
    """

    step: float | None = None
    mirror: bool = True
    skip_background: bool = False

    def __post_init__(self) -> None:
        if self.step is not None and not SMALLEST_STEP <= self.step <= LARGEST_STEP:
            raise ValueError(
                f"step is {self.step}; expected {SMALLEST_STEP} to {LARGEST_STEP} (share of the patch)"
            )

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self:
        """Read what a request asks for; other options are left alone.

        Args:
            options: by name, see ``OPTIONS``.

        Raises:
            ValueError: for a value that cannot be used, naming option and choices.

        Example:
            >>> Approximations.of({"step": "0.75", "mirror": "false"})
            Approximations(step=0.75, mirror=False, skip_background=False)
        """
        given = {name: _switch(name, options[name]) for name in OPTIONS[1:] if name in options}
        return cls(step=_number(options["step"]) if "step" in options else None, **given)

    def applied_to(self, bundle: Bundle) -> Bundle:
        """Give the same bundle with another tiling; its hash remains that of the files."""
        members = tuple(self._changed(member) for member in bundle.description.members)
        if members == bundle.description.members:
            return bundle
        changed = Bundle(bundle.root, bundle.description.model_copy(update={"members": members}))
        changed.origin = bundle  # an unpacked archive lives as long as its bundle
        return changed

    def _changed(self, member: Member) -> Member:
        tiling = member.tiling
        step = tiling.step_size if self.step is None else self.step
        axes = tiling.mirror_axes if self.mirror else ()
        return member.model_copy(
            update={"tiling": tiling.model_copy(update={"step_size": step, "mirror_axes": axes})}
        )

    def warnings(self, bundle: Bundle) -> tuple[Warning_, ...]:
        """Say what is done otherwise than the bundle says, and what that may change."""
        return tuple(
            warning for member in bundle.description.members for warning in self._member_warnings(member)
        )

    def _member_warnings(self, member: Member) -> Iterator[Warning_]:
        tiling = member.tiling
        if self.step not in (None, tiling.step_size):
            yield Warning_(
                code="approximate.step",
                message=(
                    f"Tiles of {member.name} stand {self.step:g} of a patch apart instead of "
                    f"{tiling.step_size:g}, as was asked for. Objects near the tiles' borders may be cut or "
                    "missed; the measured agreement with nnU-Net does not hold."
                ),
                observed=self.step,
                expected=tiling.step_size,
            )
        if not self.mirror and tiling.mirror_axes:
            passes = 2 ** len(tiling.mirror_axes)
            yield Warning_(
                code="approximate.no_mirror",
                message=(
                    f"{member.name} saw every tile once instead of {passes} times mirrored, as was asked "
                    "for. Borders may be less smooth and small objects may differ; the measured agreement "
                    "with nnU-Net does not hold."
                ),
                observed=1,
                expected=passes,
            )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"step is {text[:20]!r}; expected {SMALLEST_STEP} to {LARGEST_STEP}") from None


def _switch(name: str, text: str) -> bool:
    if text not in _SWITCH:
        raise ValueError(f"{name} is {text[:20]!r}; expected one of {', '.join(_SWITCH)}")
    return _SWITCH[text]


class ConstantTiles:
    """A network that looks at a tile without any content (each channel one value) only once.

    Its logits are kept and given again for the same values. Mirroring such a tile changes nothing, so all its
    passes are one. The answer is the network's own, up to the rounding of engines that do not
    compute the same thing twice alike. It costs a look at every tile, and the memory of a few tiles' logits.

    Args:
        network: the network itself.

    Attributes:
        passes: how often it was asked, and ``reused`` how often it did not run.

    Example:
        >>> import numpy as np
        >>> from nnunet_losses.serve.backends import CallableNetwork
        >>> network = ConstantTiles(CallableNetwork(lambda tiles: 2 * tiles))
        >>> outputs = [network.run(np.ones((1, 1, 2, 2), np.float32)) for _ in range(3)]
        >>> network.passes, network.reused
        (3, 2)
    """

    def __init__(self, network: TileNetwork) -> None:
        self._network = network
        self._known: dict[tuple[float, ...], TileOutput] = {}
        self.provider = network.provider
        self.precision = network.precision
        self.passes = self.reused = 0

    def run(self, tiles: NDArray[np.float32]) -> TileOutput:
        """Run on float32 tiles (batch, channels, *patch)."""
        self.passes += 1
        values = _constants(tiles)
        if values is None:
            return self._network.run(tiles)
        if values in self._known:
            self.reused += 1
            return _copy(self._known[values])
        output = self._network.run(tiles)
        if len(self._known) < REMEMBERED_TILES:
            self._known[values] = _copy(output)
        return output


def reuse_warning(networks: list[ConstantTiles], before: tuple[int, int]) -> Warning_ | None:
    """Say how many passes were saved since ``before`` (passes, reused); None for none."""
    passes, reused = (now - then for now, then in zip(counted(networks), before, strict=True))
    if not reused:
        return None
    return Warning_(
        code="approximate.skip_background",
        message=(
            f"{reused} of {passes} passes saw a tile without any content and were answered from an equal "
            "one, as was asked for. The mask can differ only by the engine's rounding."
        ),
        observed=reused,
        expected=0,
    )


def counted(networks: list[ConstantTiles]) -> tuple[int, int]:
    """Passes and reused passes of all networks."""
    return sum(network.passes for network in networks), sum(network.reused for network in networks)


def _constants(tiles: NDArray[np.float32]) -> tuple[float, ...] | None:
    """Value of each channel of each tile, where each has only one."""
    first = tiles.reshape(*tiles.shape[:2], -1)[:, :, 0]
    values = first.reshape(*first.shape, *[1] * (tiles.ndim - 2))
    # a middle line first: nearly every tile with content shows it there
    middle = tuple(size // 2 for size in tiles.shape[2:-1])
    if (tiles[:, :, *middle] != first[..., None]).any() or (tiles != values).any():
        return None
    return tuple(first.ravel().tolist())


def _copy(output: TileOutput) -> TileOutput:
    """A caller may change what it gets."""
    return TileOutput(output.logits.copy(), {name: value.copy() for name, value in output.features.items()})
