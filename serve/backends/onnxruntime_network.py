"""ONNX Runtime, on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.errors import Code, Refusal

from .network import TileOutput, named_outputs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_FATAL_ONLY = 4


class OnnxRuntimeNetwork:
    """A network run by ONNX Runtime.

    Args:
        path: the .onnx file.
        provider: ``CPUExecutionProvider`` or ``CUDAExecutionProvider``.
        threads: of the CPU.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where ONNX Runtime is missing, or answers with another provider than the
            one asked for (it falls back to the CPU without a word); BUNDLE_UNREADABLE for a broken file.
    """

    precision = "float32"

    def __init__(self, path: Path, *, provider: str, threads: int) -> None:
        runtime = _onnxruntime("cpu" if provider == CPU else "cuda")
        if provider not in runtime.get_available_providers():
            raise _no_gpu("a wheel for the CPU")
        if provider == CUDA:
            runtime.preload_dlls()
        self._session = _session(runtime, path, provider, threads)
        self.provider = self._session.get_providers()[0]
        if self.provider != provider:
            raise _no_gpu(self.provider)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, tiles: NDArray[np.float32]) -> TileOutput:
        """Run on float32 tiles (batch, channels, *patch)."""
        try:
            arrays = self._session.run(self._outputs, {self._input: tiles})
        except Exception as error:
            raise Refusal(
                Code.BACKEND_FAILED,
                f"{self.provider} failed: {error}",
                remedy="Try another backend, or free memory.",
            ) from error
        return named_outputs(self._outputs, arrays)


def cuda_may_work() -> bool:
    """Whether the GPU wheel of ONNX Runtime is installed and knows CUDA; a device may still be absent."""
    try:
        distribution("onnxruntime-gpu")
        return CUDA in _onnxruntime("cuda").get_available_providers()
    except (PackageNotFoundError, Refusal):
        return False


def _onnxruntime(extra: str) -> Any:
    remedy = f'Install it with: pip install "nnunet-losses[{extra}]"'
    try:
        import onnxruntime  # noqa: PLC0415 - engines are optional, and slow to import
    except ImportError as error:
        raise Refusal(Code.BACKEND_UNAVAILABLE, "ONNX Runtime is not installed.", remedy=remedy) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise Refusal(
            Code.BACKEND_UNAVAILABLE,
            "ONNX Runtime's folder is gutted: two of its wheels were installed, and one was removed.",
            remedy=f"Uninstall every onnxruntime package. {remedy}",
        )
    return onnxruntime


def _session(runtime: Any, path: Path, provider: str, threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # a missing GPU is reported as a refusal, so the runtime need not print it as well
    options.log_severity_level = _FATAL_ONLY
    # TF32 would round every factor to ten bits
    providers = [(CUDA, {"use_tf32": "0"})] if provider == CUDA else [CPU]
    try:
        return runtime.InferenceSession(path.read_bytes(), options, providers=providers)
    except Exception as error:
        raise Refusal(
            Code.BUNDLE_UNREADABLE,
            f"ONNX Runtime cannot open {path.name}: {error}",
            remedy="Export the model again, or update ONNX Runtime.",
        ) from error


def _no_gpu(provider: str) -> Refusal:
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        "A GPU was asked for, but ONNX Runtime does not get one.",
        remedy='Check the driver and pip install "nnunet-losses[cuda]" (CUDA 13) or "nnunet-losses[cuda12]"; '
        "no other ONNX Runtime wheel may be installed beside it.",
        observed=provider,
        expected=CUDA,
    )
