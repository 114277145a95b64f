"""What the pipeline asks of an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from numpy.typing import NDArray

LOGITS = "logits"  # name of the graph's output that holds them; every other output is a feature


@dataclass(frozen=True, eq=False)
class TileOutput:
    """Answer of a network.

    Attributes:
        logits: float32 (batch, heads, *patch). The caller may change it.
        features: float32 (batch, channels) by output name: encoder features, averaged over space.
    """

    logits: NDArray[np.float32]
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@runtime_checkable
class TileNetwork(Protocol):
    """A network for tiles of one fixed size.

    Attributes:
        provider: the engine truly in use, by the engine's own name.
        precision: what it computes with, such as ``float32``.
    """

    provider: str
    precision: str

    def run(self, tiles: NDArray[np.float32]) -> TileOutput:
        """Run on float32 tiles (batch, channels, *patch)."""
        ...


@runtime_checkable
class StreamingNetwork(TileNetwork, Protocol):
    """A network that works on the next tile while the caller still uses the answer to the last one."""

    def stream(self, tiles: Iterable[NDArray[np.float32]]) -> Iterator[TileOutput]:
        """See ``stream``."""
        ...


class OutOfDeviceMemory(Exception):  # noqa: N818 - it is a state to step back from
    """A GPU had too little memory for what was asked; less may fit."""


def stream(network: TileNetwork, tiles: Iterable[NDArray[np.float32]]) -> Generator[TileOutput]:
    """Run a network on one array of tiles after the other, in order.

    Tiles are drawn ahead of the answers where the network can overlap them. An answer belongs to the caller
    only until the next one is asked for: then its memory is written to again. Close the generator where not
    all answers are taken (``contextlib.closing``): the network may still be at work.

    Args:
        network: any network.
        tiles: float32 arrays (batch, channels, *patch); each may be used until its answer came.

    Example:
        >>> network = CallableNetwork(lambda tiles: 2 * tiles)
        >>> tiles = (np.full((1, 1, 2, 2), value, np.float32) for value in (1, 2))
        >>> [float(output.logits.max()) for output in stream(network, tiles)]
        [2.0, 4.0]
    """
    if isinstance(network, StreamingNetwork):
        yield from network.stream(tiles)
    else:
        yield from map(network.run, tiles)


class CallableNetwork:
    """A plain function as a network, for tests and experiments.

    Args:
        function: from tiles (batch, channels, *patch) to logits (batch, heads, *patch).

    Example:
        >>> network = CallableNetwork(lambda tiles: np.concatenate([tiles, -tiles], axis=1))
        >>> network.run(np.ones((1, 1, 2, 2), np.float32)).logits[:, :, 0, 0]
        array([[ 1., -1.]], dtype=float32)
    """

    provider = "function"
    precision = "float32"

    def __init__(self, function: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
        self._function = function

    def run(self, tiles: NDArray[np.float32]) -> TileOutput:
        """Call the function; its result is copied."""
        return TileOutput(np.array(self._function(tiles), np.float32))


def named_outputs(names: list[str], arrays: list[Any]) -> TileOutput:
    """Tell logits from features by their names in the graph."""
    outputs = dict(zip(names, arrays, strict=True))
    logits = outputs.pop(LOGITS if LOGITS in outputs else names[0])
    return TileOutput(logits, outputs)
