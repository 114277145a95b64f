"""Questions that are asked in a process of their own: an answer may cost seconds, or the process.

Run as ``python -m nnunet_losses.trainers.probes QUESTION [ARGUMENT]``; prints one line of JSON.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# An ONNX model (IR 8, opset 13): y = x, float32, one value.
_IDENTITY = base64.b64decode(
    "CAg6NwoQCgF4EgF5IghJZGVudGl0eRIBZ1oPCgF4EgoKCAgBEgQKAggBYg8KAXkSCgoICAESBAoCCAFCBAoAEA0="
)


def ask(question: str, *arguments: str, timeout: float = 180) -> dict[str, Any]:
    """Ask a question in a fresh interpreter; what went wrong there comes back as ``{"error": ...}``."""
    command = [sys.executable, "-m", __spec__.name, question, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)  # noqa: S603 - our own interpreter and module
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {timeout:g} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        tail = done.stderr.strip().splitlines()[-1:] or ["no message"]
        return {"error": f"the process ended with status {done.returncode}: {tail[0]}"}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer | ({"log": done.stderr.strip()} if done.stderr.strip() else {})


def torch() -> dict[str, Any]:
    """Import PyTorch: its version, and the GPUs that it sees."""
    import torch

    return {"version": torch.__version__, "gpus": torch.cuda.device_count()}


def torchvision() -> dict[str, Any]:
    """Import torchvision: its version, and whether its compiled operators were loaded."""
    import torchvision

    return {"version": torchvision.__version__, "operators": torchvision.extension._has_ops()}  # noqa: SLF001 - there is no public question


def trainer(name: str) -> dict[str, Any]:
    """Look a trainer up as nnUNetv2_train does."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    found = recursive_find_trainer_class_by_name(name)
    return {"found": f"{found.__module__}.{found.__qualname__}"}


def onnxruntime() -> dict[str, Any]:
    """Import ONNX Runtime and run a model of one operator on every provider that this wheel offers."""
    import onnxruntime

    if not hasattr(onnxruntime, "InferenceSession"):
        return {"error": "the module onnxruntime is empty: another of its wheels was uninstalled over it"}
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds the CUDA libraries of pip packages
    offered = onnxruntime.get_available_providers()
    used = [provider for provider in offered if _runs_on(onnxruntime, provider)]
    return {"version": onnxruntime.__version__, "offered": offered, "used": used}


def _runs_on(onnxruntime: Any, provider: str) -> bool:
    import numpy as np

    try:
        session = onnxruntime.InferenceSession(_IDENTITY, providers=[provider])
        (result,) = session.run(None, {"x": np.ones(1, np.float32)})
    except Exception as error:  # noqa: BLE001 - native code raises what it likes; that it failed is the answer
        sys.stderr.write(f"{provider}: {error}\n")
        return False
    return bool(result[0] == 1 and session.get_providers()[0] == provider)


def openvino() -> dict[str, Any]:
    """Import OpenVINO and run a model of one operator on the CPU."""
    import numpy as np
    import openvino

    core = openvino.Core()
    model = core.compile_model(core.read_model(_IDENTITY), "CPU")
    result = model(np.ones(1, np.float32))[0]
    if result[0] != 1:
        return {"error": f"computed {result[0]} where 1 was expected"}
    return {"version": openvino.__version__, "devices": core.available_devices}


QUESTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {
    function.__name__: function for function in (torch, torchvision, trainer, onnxruntime, openvino)
}


def main(arguments: list[str]) -> None:
    """Answer one question; an exception is an answer too."""
    question, *rest = arguments
    try:
        answer = QUESTIONS[question](*rest)
    except Exception as error:  # noqa: BLE001 - reported, that is the purpose
        answer = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
