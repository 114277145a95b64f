"""Which engine runs a network file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import Precision

from .onnxruntime_network import CPU, CUDA, TENSORRT, OnnxRuntimeNetwork, cuda_may_work
from .openvino_network import OpenVinoNetwork, is_installed
from .threads import allowed_cores

if TYPE_CHECKING:
    from .network import TileNetwork

Backend = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
PrecisionChoice = Literal["auto", "float32", "bfloat16", "float16", "int8"]
# folder in which engines keep what they compile; TensorRT needs minutes for it
CACHE_VARIABLE = "NNUNET_LOSSES_ENGINE_CACHE"
# what networks report as their provider
PROVIDERS = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT, "openvino": "OpenVINO CPU"}


def open_network(
    path: Path,
    *,
    backend: Backend = "auto",
    precision: Precision = Precision.FLOAT32,
    threads: int | None = None,
) -> TileNetwork:
    """Open a network file.

    Args:
        path: the .onnx file. For int8, and for float16 on ``cuda``, a file of that precision; OpenVINO and
            TensorRT reduce the float32 file by themselves.
        backend: ``cpu``, ``cuda`` and ``tensorrt`` are ONNX Runtime's, ``openvino`` is OpenVINO on the CPU.
            ``auto`` takes the first of ``candidates`` that works.
        precision: what to compute with.
        threads: of the CPU; None takes the cores that this process may use.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where the engine, its device or the precision is missing: another one is
            never taken in silence. BUNDLE_UNREADABLE for a file that the engine cannot open.
        ValueError: for what no engine can do.
    """
    cores = allowed_cores() if threads is None else threads
    if cores < 1:
        raise ValueError(f"threads is {threads}; expected at least 1, or None for all allowed cores")
    if backend not in get_args(Backend):
        raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(get_args(Backend))}")
    if backend != "auto":
        return _open(path, backend, precision, cores)
    *others, last = candidates()
    for candidate in others:
        try:
            return _open(path, candidate, precision, cores)
        except Refusal as refusal:
            if refusal.code is not Code.BACKEND_UNAVAILABLE:
                raise
    return _open(path, last, precision, cores)


def candidates() -> list[Backend]:
    """Engines for ``auto``, the fastest first: CUDA where its wheel is installed, OpenVINO, ONNX Runtime.

    A device may still be absent. TensorRT is never taken unasked: it needs minutes to start.
    """
    found: list[Backend] = ["cuda"] if cuda_may_work() else []
    return [*found, *(["openvino"] if is_installed() else []), "cpu"]  # type: ignore[list-item]  # literals


def _open(path: Path, backend: Backend, precision: Precision, threads: int) -> TileNetwork:
    cache = os.environ.get(CACHE_VARIABLE)
    folder = None if not cache else Path(cache)
    if backend == "openvino":
        return OpenVinoNetwork(path, threads=threads, precision=precision, cache=folder)
    provider = PROVIDERS[backend]
    return OnnxRuntimeNetwork(path, provider=provider, threads=threads, precision=precision, cache=folder)
