"""OpenVINO on the CPU: reads the same .onnx file and is the fastest engine there."""

from __future__ import annotations

from collections import deque
from contextlib import closing, suppress
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.extras import install_command
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import Precision

from .network import TileOutput, named_outputs
from .processor import native_precisions

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Tile = NDArray[np.float32]

_TYPES = {Precision.FLOAT32: "f32", Precision.BFLOAT16: "bf16", Precision.FLOAT16: "f16"}
_PRECISIONS = {name: precision for precision, name in _TYPES.items()}
_core: Any = None
_core_lock = Lock()


class OpenVinoNetwork:
    """A network run by OpenVINO: tile by tile, the next one while the caller uses the last answer.

    Args:
        path: the .onnx file, in float32.
        precision: float32, or bfloat16 or float16 where the processor computes with them.
        threads: of the CPU.
        cache: folder in which compiled networks are kept; None keeps nothing.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where OpenVINO is missing, or the processor lacks the precision;
            BUNDLE_UNREADABLE for a broken file.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        precision: Precision = Precision.FLOAT32,
        cache: Path | None = None,
    ) -> None:
        _require_native(precision)
        settings = _settings(precision, threads, cache)
        self._compiled = _compile(_openvino(), path, settings)
        self._names = [output.get_any_name() for output in self._compiled.outputs]
        self._tile = tuple(self._compiled.inputs[0].shape)
        self.provider = "OpenVINO " + "+".join(self._compiled.get_property("EXECUTION_DEVICES"))
        used = _PRECISIONS[self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()]
        if used is not precision:
            raise _not_native(precision, f"OpenVINO computes in {used.value} instead")
        self.precision = used.value
        # one request more than can be worked on: the caller holds the answer of the one that is done
        count = self._compiled.get_property("NUM_STREAMS") + 1
        self._requests = [self._compiled.create_infer_request() for _ in range(count)]

    def run(self, tiles: Tile) -> TileOutput:
        """Run on float32 tiles (batch, channels, *patch)."""
        singles = (tiles[index : index + 1] for index in range(len(tiles)))
        outputs = [self._copied(request) for request in self._answered(singles)]
        joined = zip(*outputs, strict=True)
        arrays = [np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in joined]
        return named_outputs(self._names, arrays)

    def stream(self, tiles: Iterable[Tile]) -> Iterator[TileOutput]:
        """Run on single tiles (1, channels, *patch), some of them at once; see ``network.stream``."""
        try:
            with closing(self._answered(tiles)) as answered:
                for request in answered:
                    yield named_outputs(self._names, [request.get_tensor(name).data for name in self._names])
        finally:
            self._compiled.release_memory()  # of the layers, until the next image: gigabytes in 3D

    def _copied(self, request: Any) -> list[NDArray[np.float32]]:
        return [np.array(request.get_tensor(name).data) for name in self._names]

    def _answered(self, tiles: Iterable[Tile]) -> Generator[Any]:
        """Requests with their answers, in the tiles' order; one is free again when the next is asked for."""
        free, busy = deque(self._requests), deque[Any]()
        try:
            for tile in tiles:
                self._start(free[0], tile)
                busy.append((free.popleft(), tile))  # the tile must live as long as it is read
                if not free:
                    yield from self._next(busy, free)
            while busy:
                yield from self._next(busy, free)
        finally:
            for request, _ in busy:
                with suppress(RuntimeError):  # nobody wants these answers; the requests must be free again
                    request.wait()

    def _next(self, busy: deque[Any], free: deque[Any]) -> Iterator[Any]:
        request, _ = busy.popleft()
        try:
            request.wait()
        except RuntimeError as error:
            raise _failed(error) from error
        yield request
        free.append(request)

    def _start(self, request: Any, tile: Tile) -> None:
        if tile.shape != self._tile:
            raise _failed(f"a tile has the shape {tile.shape}; expected {self._tile}")
        try:
            request.start_async([tile], share_inputs=True)
        except RuntimeError as error:
            raise _failed(error) from error


def is_installed() -> bool:
    """Whether OpenVINO can be imported."""
    return find_spec("openvino") is not None


def _openvino() -> Any:
    try:
        import openvino.frontend  # noqa: PLC0415 - engines are optional, and slow to import
    except ImportError as error:
        raise Refusal(
            Code.BACKEND_UNAVAILABLE,
            "OpenVINO is not installed.",
            remedy=f"Install it with: {install_command('cpu')}",
        ) from error
    return openvino


def _the_core(openvino: Any) -> Any:
    """Give the one core of this process, which is never released.

    OpenVINO's CPU plug-in registers a stack for signal handlers with the thread that loads it, and unmaps
    that stack with the last network of its core, even if another thread releases that one, or another core's
    stack was registered in between. The next signal to the first thread would end the process (2026.4).
    """
    global _core  # noqa: PLW0603 - once per process, that is the purpose
    with _core_lock:
        if _core is None:
            _core = openvino.Core()
        return _core


def _settings(precision: Precision, threads: int, cache: Path | None) -> dict[str, Any]:
    # by default OpenVINO computes in bfloat16 where the processor can, or could pretend to
    settings = {
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    return settings if cache is None else {**settings, "CACHE_DIR": str(cache)}


def _compile(openvino: Any, path: Path, settings: dict[str, Any]) -> Any:
    try:
        # by its ONNX front end alone; OpenVINO would otherwise try every format that it knows
        front_end = openvino.frontend.FrontEndManager().load_by_framework("onnx")
        model = front_end.convert(front_end.load(str(path)))
        shape = model.inputs[0].get_partial_shape()
        shape[0] = 1  # a fixed shape: memory is planned once, and batches would be no faster
        model.reshape(shape)
        return _the_core(openvino).compile_model(model, "CPU", settings)
    except Exception as error:
        raise Refusal(
            Code.BUNDLE_UNREADABLE,
            f"OpenVINO cannot open {path.name}: {str(error).replace(str(path), path.name)}",
            remedy="Export the model again, or update OpenVINO.",
        ) from error


def _require_native(precision: Precision) -> None:
    if precision not in _TYPES:
        raise ValueError(f"OpenVINO does not reduce a network to {precision.value}; choose a float type")
    if precision not in native_precisions():
        raise _not_native(precision, "OpenVINO would emulate it, slower than float32")


def _not_native(precision: Precision, detail: str) -> Refusal:
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        f"This processor is not known to compute in {precision.value}: {detail}.",
        remedy="Use --precision float32, or a processor that has it: AMX, AVX512_BF16 or AVX_NE_CONVERT for "
        "bfloat16, AVX512_FP16 or Arm's half precision for float16. Only Linux says what a processor has.",
        observed=sorted(native_precisions()),
        expected=precision.value,
    )


def _failed(error: object) -> Refusal:
    return Refusal(
        Code.BACKEND_FAILED, f"OpenVINO failed: {error}", remedy="Try another backend, or free memory."
    )
