"""Arrays in a GPU's memory, by CuPy. NumPy stands in for it in the tests: the code never ran on a GPU."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from .network import OutOfDeviceMemory
from .onnxruntime_network import OnnxRuntimeNetwork, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .network import TileNetwork


@dataclass(frozen=True)
class Arrays:
    """A module of arrays.

    Attributes:
        xp: CuPy, or NumPy in its place.

    Example:
        >>> Arrays(np).host(np.ones(2)).sum()
        np.float64(2.0)
    """

    xp: Any

    def host(self, array: Any) -> NDArray[Any]:
        """Bring an array to the host's memory; one that is there stays."""
        return array if isinstance(array, np.ndarray) else self.xp.asnumpy(array)

    @contextmanager
    def memory(self) -> Iterator[None]:
        """Turn whatever says that the GPU's memory is used up into ``OutOfDeviceMemory``."""
        try:
            yield
        except OutOfDeviceMemory:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfDeviceMemory(str(error)) from error
            raise

    def release(self) -> None:
        """Give memory that is kept for later back, so that the engine can have it."""
        pool = getattr(self.xp, "get_default_memory_pool", None)
        if pool is not None:
            pool().free_all_blocks()

    def synchronize(self) -> None:
        """Wait until the arrays hold what was computed: an engine works in a stream of its own."""
        cuda = getattr(self.xp, "cuda", None)
        if cuda is not None:
            cuda.get_current_stream().synchronize()


def device_arrays(network: TileNetwork) -> Arrays | None:
    """Arrays where a network runs; None for the CPU, and where CuPy is not installed or finds no GPU."""
    if not (isinstance(network, OnnxRuntimeNetwork) and network.on_gpu):
        return None
    try:
        cupy = import_module("cupy")
        return Arrays(cupy) if cupy.cuda.runtime.getDeviceCount() else None
    except (ImportError, RuntimeError):  # CuPy's error for a missing driver is a RuntimeError
        return None
