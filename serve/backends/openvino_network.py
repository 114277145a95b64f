"""OpenVINO on the CPU: reads the same .onnx file and is the fastest engine there."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.errors import Code, Refusal

from .network import TileOutput, named_outputs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


class OpenVinoNetwork:
    """A network run by OpenVINO in float32.

    Args:
        path: the .onnx file.
        threads: of the CPU.

    Raises:
        Refusal: BACKEND_UNAVAILABLE where OpenVINO is missing; BUNDLE_UNREADABLE for a broken file.
    """

    def __init__(self, path: Path, *, threads: int) -> None:
        self._compiled = _compile(_openvino(), path, threads)
        self._request = self._compiled.create_infer_request()
        self._outputs = [output.get_any_name() for output in self._compiled.outputs]
        self.provider = "OpenVINO " + "+".join(self._compiled.get_property("EXECUTION_DEVICES"))
        self.precision = _PRECISIONS[self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()]

    def run(self, tiles: NDArray[np.float32]) -> TileOutput:
        """Run on float32 tiles (batch, channels, *patch)."""
        try:
            results = self._request.infer([tiles], share_inputs=True, share_outputs=False)
        except RuntimeError as error:
            raise Refusal(
                Code.BACKEND_FAILED,
                f"OpenVINO failed: {error}",
                remedy="Try another backend, or free memory.",
            ) from error
        return named_outputs(self._outputs, [results[output] for output in self._compiled.outputs])


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
            remedy='Install it with: pip install "nnunet-losses[cpu]"',
        ) from error
    return openvino


def _compile(openvino: Any, path: Path, threads: int) -> Any:
    # by default OpenVINO computes in bfloat16 where the processor can
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        # by its ONNX front end alone; OpenVINO would otherwise try every format that it knows
        front_end = openvino.frontend.FrontEndManager().load_by_framework("onnx")
        model = front_end.convert(front_end.load(str(path)))
        return openvino.Core().compile_model(model, "CPU", settings)
    except Exception as error:
        raise Refusal(
            Code.BUNDLE_UNREADABLE,
            f"OpenVINO cannot open {path.name}: {str(error).replace(str(path), path.name)}",
            remedy="Export the model again, or update OpenVINO.",
        ) from error
