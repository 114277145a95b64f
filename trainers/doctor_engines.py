"""Findings about the engines that run bundles: ONNX Runtime and OpenVINO."""

from __future__ import annotations

import shutil
from importlib.metadata import packages_distributions, version
from typing import TYPE_CHECKING, Any

from nnunet_losses.extras import install_command

from . import probes
from .doctor_training import is_installed
from .findings import Finding, State

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACCELERATORS = {"CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider",
                 "DmlExecutionProvider", "CoreMLExecutionProvider"}  # fmt: skip


def examine() -> Iterator[Finding]:
    """Yield the findings about engines."""
    wheels = onnxruntime_wheels()
    if len(wheels) > 1:
        yield _several(wheels)
    elif wheels or is_installed("onnxruntime"):
        yield _onnxruntime(wheels)
    yield from _cupy(wheels)
    yield from _openvino()
    if not wheels and not is_installed("openvino"):
        text = "none installed (needed for predict, serve and verify only)"
        yield Finding("engines", State.NOTE, text, _one_engine())


def _one_engine() -> str:
    return f"{_engine('cpu')}, or for an NVIDIA GPU {_gpu_engine()}"


def _gpu_engine() -> str:
    return f"{_engine('cuda')} (CUDA 13) or {_engine('cuda12')} (CUDA 12)"


def _engine(extra: str) -> str:
    return install_command(extra, anew=True)  # the wheels exclude each other: what is there goes first


def onnxruntime_wheels() -> list[str]:
    """Names and versions of the installed distributions that own the module ``onnxruntime``."""
    return sorted(f"{name} {version(name)}" for name in set(packages_distributions().get("onnxruntime", [])))


def _several(wheels: list[str]) -> Finding:
    names = " ".join(wheel.split()[0] for wheel in wheels)
    text = f"{' and '.join(wheels)} share one module; the last one overwrote it"
    return Finding("ONNX Runtime", State.BROKEN, text, f"pip uninstall -y {names}, then {_one_engine()}")


def _onnxruntime(wheels: list[str]) -> Finding:
    subject = wheels[0] if wheels else "ONNX Runtime"
    answer = probes.ask("onnxruntime")
    if "error" in answer:
        name = wheels[0].split()[0] if wheels else "onnxruntime"
        return Finding(
            subject, State.BROKEN, answer["error"], f"pip install --force-reinstall --no-deps {name}"
        )
    if "CPUExecutionProvider" not in answer["used"]:
        text = f"even the CPU provider fails: {_reason(answer)}"
        return Finding(subject, State.BROKEN, text, _one_engine())
    refused = [p for p in answer["offered"] if p in _ACCELERATORS and p not in answer["used"]]
    return _refused(subject, refused, answer) if refused else _working(subject, answer)


def _working(subject: str, answer: dict[str, Any]) -> Finding:
    # the CPU wheel lists Azure, a remote service, as if it ran something here
    used = ", ".join(
        name.removesuffix("ExecutionProvider") for name in answer["used"] if not name.startswith("Azure")
    )
    return Finding(subject, State.OK, f"a test model ran on: {used}")


def _refused(subject: str, refused: list[str], answer: dict[str, Any]) -> Finding:
    """Report an accelerator that does not run: a fault where there is a GPU, worth knowing elsewhere."""
    state = State.BROKEN if has_nvidia_gpu() else State.WARNING
    text = f"{', '.join(refused)} asked for, but it cannot be used: {_reason(answer)}"
    remedy = (
        f"{_gpu_engine()} bring CUDA's libraries and need a recent driver. "
        f"Without a GPU: pip uninstall -y onnxruntime-gpu, then {_engine('cpu')}"
    )
    return Finding(subject, state, text, remedy)


def has_nvidia_gpu() -> bool:
    """Whether NVIDIA's driver is present."""
    return shutil.which("nvidia-smi") is not None


def _cupy(wheels: list[str]) -> Iterator[Finding]:
    """Without CuPy a GPU works, but tiles travel to it and back."""
    has_gpu_wheel = any(wheel.startswith("onnxruntime-gpu ") for wheel in wheels)
    if has_gpu_wheel and has_nvidia_gpu() and not is_installed("cupy"):
        text = "not installed: every tile is copied to the GPU and back"
        yield Finding("CuPy", State.WARNING, text, "pip install cupy-cuda13x (CUDA 12: cupy-cuda12x)")


def _reason(answer: dict[str, Any]) -> str:
    lines = [line for line in answer.get("log", "").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no reason was given"


def _openvino() -> Iterator[Finding]:
    if not is_installed("openvino"):
        return
    answer = probes.ask("openvino")
    if "error" in answer:
        yield Finding("OpenVINO", State.BROKEN, answer["error"], "pip install --force-reinstall openvino")
    else:
        yield Finding(
            "OpenVINO",
            State.OK,
            f"{answer['version']}: a test model ran; devices: {', '.join(answer['devices'])}",
        )
