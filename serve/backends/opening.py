"""Which engine runs a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from nnunet_losses.serve.errors import Code, Refusal

from .onnxruntime_network import CPU, CUDA, OnnxRuntimeNetwork, cuda_may_work
from .openvino_network import OpenVinoNetwork, is_installed
from .threads import allowed_cores

if TYPE_CHECKING:
    from pathlib import Path

    from .network import TileNetwork

Backend = Literal["auto", "cpu", "cuda", "openvino"]


def open_network(path: Path, *, backend: Backend = "auto", threads: int | None = None) -> TileNetwork:
    """Open a network file.

    Args:
        path: the .onnx file.
        backend: ``cpu`` and ``cuda`` are ONNX Runtime's, ``openvino`` is OpenVINO on the CPU. ``auto`` takes
            a GPU where ONNX Runtime's GPU wheel and a working device are present, else OpenVINO where it is
            installed, else ``cpu``.
        threads: of the CPU; None takes the cores that this process may use.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where the engine or its device is missing: another one is never taken in
            silence. BUNDLE_UNREADABLE for a file that the engine cannot open.
    """
    cores = allowed_cores() if threads is None else threads
    if cores < 1:
        raise ValueError(f"threads is {threads}; expected at least 1, or None for all allowed cores")
    match backend:
        case "auto":
            return _fastest(path, cores)
        case "cpu":
            return OnnxRuntimeNetwork(path, provider=CPU, threads=cores)
        case "cuda":
            return OnnxRuntimeNetwork(path, provider=CUDA, threads=cores)
        case "openvino":
            return OpenVinoNetwork(path, threads=cores)
    raise ValueError(f"unknown backend {backend!r}; choose one of {', '.join(get_args(Backend))}")


def _fastest(path: Path, threads: int) -> TileNetwork:
    if cuda_may_work():
        try:
            return OnnxRuntimeNetwork(path, provider=CUDA, threads=threads)
        except Refusal as refusal:
            if refusal.code is not Code.BACKEND_UNAVAILABLE:
                raise
    if is_installed():
        return OpenVinoNetwork(path, threads=threads)
    return OnnxRuntimeNetwork(path, provider=CPU, threads=threads)
