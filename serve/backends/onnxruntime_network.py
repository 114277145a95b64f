"""ONNX Runtime: on the CPU, or on an NVIDIA GPU by CUDA or TensorRT."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.extras import install_command
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import Precision

from .network import OutOfDeviceMemory, TileOutput, named_outputs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
_FATAL_ONLY = 4
# how ONNX Runtime, CUDA, cuDNN and cuBLAS say that the memory of a GPU is used up
_OUT_OF_MEMORY = ("out of memory", "failed to allocate memory", "alloc_failed", "cudaerrormemoryallocation")


class OnnxRuntimeNetwork:
    """A network run by ONNX Runtime.

    Args:
        path: the .onnx file; one in float16 or int8 computes in that precision.
        provider: ``CPUExecutionProvider``, ``CUDAExecutionProvider`` or ``TensorrtExecutionProvider``.
        threads: of the CPU.
        precision: of the file; TensorRT reduces a float32 file to float16 by itself.
        cache: folder in which TensorRT keeps its engines; None builds them each time, which takes minutes.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where ONNX Runtime is missing, or answers with another provider than the
            one asked for, for the whole network or for a part of it (left alone, it falls back to the CPU
            without a word); BUNDLE_UNREADABLE for a broken file.
    """

    def __init__(
        self,
        path: Path,
        *,
        provider: str,
        threads: int,
        precision: Precision = Precision.FLOAT32,
        cache: Path | None = None,
    ) -> None:
        runtime = _onnxruntime("cpu" if provider == CPU else "cuda")
        if provider not in runtime.get_available_providers():
            raise _no_gpu(provider, "a wheel without it")
        if provider != CPU:
            runtime.preload_dlls()
        options = _provider_options(provider, precision, cache)
        self._session = _session(runtime, path, (provider, options), threads)
        self.provider = self._session.get_providers()[0]
        if self.provider != provider:
            raise _no_gpu(provider, self.provider)
        self.precision = precision.value
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    @property
    def on_gpu(self) -> bool:
        """Whether tiles and answers can stay in a GPU's memory."""
        return bool(self.provider != CPU)

    def run(self, tiles: NDArray[np.float32]) -> TileOutput:
        """Run on float32 tiles (batch, channels, *patch)."""
        try:
            arrays = self._session.run(self._names, {self._input: tiles})
        except Exception as error:
            raise _failed(self.provider, error) from error
        return named_outputs(self._names, arrays)

    def run_on_device(self, tiles: Any, outputs: dict[str, Any]) -> None:
        """Run between arrays that lie where the network runs; nothing is copied.

        Args:
            tiles: float32 (batch, channels, *patch), contiguous: of CuPy on a GPU, of NumPy on the CPU.
            outputs: such arrays by output name, which are written to; the others are left out.

        Raises:
            OutOfDeviceMemory: the GPU's memory is used up.
            Refusal: BACKEND_FAILED for anything else.
        """
        device = "cuda" if self.on_gpu else "cpu"
        binding = self._session.io_binding()
        binding.bind_input(self._input, device, 0, np.float32, tiles.shape, address(tiles))
        for name, array in outputs.items():
            binding.bind_output(name, device, 0, np.float32, array.shape, address(array))
        try:
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfDeviceMemory(str(error)) from error
            raise _failed(self.provider, error) from error

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for a batch."""
        return {output.name: (batch, *output.shape[1:]) for output in self._session.get_outputs()}


def address(array: Any) -> int:
    """Where a contiguous array of NumPy or CuPy begins.

    Raises:
        ValueError: the array is not contiguous.
    """
    if not array.flags.c_contiguous:
        raise ValueError("the array is not contiguous; an engine would read other values")
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine's error says that a GPU's memory is used up.

    Example:
        >>> is_out_of_memory(RuntimeError("CUDNN_STATUS_ALLOC_FAILED")), is_out_of_memory(RuntimeError("no"))
        (True, False)
    """
    text = f"{type(error).__name__} {error}".lower()
    return "outofmemory" in text or any(words in text for words in _OUT_OF_MEMORY)


def cuda_may_work() -> bool:
    """Whether the GPU wheel of ONNX Runtime is installed and knows CUDA; a device may still be absent."""
    try:
        distribution("onnxruntime-gpu")
        return CUDA in _onnxruntime("cuda").get_available_providers()
    except (PackageNotFoundError, Refusal):
        return False


def _onnxruntime(extra: str) -> Any:
    remedy = f"Install it with: {install_command(extra)}"
    try:
        import onnxruntime  # noqa: PLC0415 - engines are optional, and slow to import
    except ImportError as error:
        raise Refusal(Code.BACKEND_UNAVAILABLE, "ONNX Runtime is not installed.", remedy=remedy) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise Refusal(
            Code.BACKEND_UNAVAILABLE,
            "ONNX Runtime's folder is gutted: two of its wheels were installed, and one was removed.",
            remedy=f"pip uninstall -y onnxruntime onnxruntime-gpu, then {install_command(extra, anew=True)}",
        )
    return onnxruntime


def _provider_options(provider: str, precision: Precision, cache: Path | None) -> dict[str, str]:
    if provider == CUDA:
        # TF32 would round every factor to ten bits; memory is shared with the arrays of the pipeline
        return {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    if provider == TENSORRT:
        reduced = {"trt_fp16_enable": "1" if precision is Precision.FLOAT16 else "0"}
        kept = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache)} if cache else {}
        return reduced | kept | ({"trt_timing_cache_enable": "1"} if cache else {})
    return {}


def _session(runtime: Any, path: Path, provider: tuple[str, dict[str, str]], threads: int) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # a missing GPU is reported as a refusal, so the runtime need not print it as well
    options.log_severity_level = _FATAL_ONLY
    if provider[0] != CPU:
        # neither the whole network nor single nodes of it may fall back to the CPU
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return runtime.InferenceSession(str(path), options, providers=[provider], enable_fallback=0)
    except Exception as error:
        reason = str(error).replace(str(path), path.name)
        if provider[0] != CPU and not _is_broken_file(error):
            raise _no_gpu(provider[0], reason) from error
        raise Refusal(
            Code.BUNDLE_UNREADABLE,
            f"ONNX Runtime cannot open {path.name}: {reason}",
            remedy="Export the model again, or update ONNX Runtime.",
        ) from error


def _is_broken_file(error: Exception) -> bool:
    """Whether the file is at fault, and not the device: ONNX Runtime names its errors so."""
    return type(error).__name__ in {"InvalidProtobuf", "InvalidGraph", "NoSuchFile", "InvalidArgument"}


def _failed(provider: str, error: Exception) -> Refusal:
    return Refusal(
        Code.BACKEND_FAILED, f"{provider} failed: {error}", remedy="Try another backend, or free memory."
    )


def _no_gpu(provider: str, observed: str) -> Refusal:
    needs = " TensorRT 10 must be installed beside it." if provider == TENSORRT else ""
    return Refusal(
        Code.BACKEND_UNAVAILABLE,
        "A GPU was asked for, but ONNX Runtime does not get one, or cannot run all of the network on it.",
        remedy=f"Check the driver. For CUDA 13: {install_command('cuda')}; for CUDA 12: "
        f"{install_command('cuda12')}; no other ONNX Runtime wheel may be installed beside it.{needs}",
        observed=observed,
        expected=provider,
    )
