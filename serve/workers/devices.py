"""Where networks run: one worker process for each device."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schema import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMED = re.compile(r"(?:cpu|cuda:(\d{1,3}))")
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Device(Frozen):
    """A device as the worker process will see it.

    Attributes:
        name: ``cpu`` or ``cuda:0``, as the server counts.
        gpu: what CUDA_VISIBLE_DEVICES is to hold; None for the CPU.
    """

    name: str
    gpu: str | None = None

    def environment(self) -> Mapping[str, str]:
        """Variables of the worker's process: it sees its own GPU only, and calls it 0."""
        return {} if self.gpu is None else {_VISIBLE: self.gpu}


def parse_device(text: Any) -> Any:
    """Read ``cpu`` or ``cuda:1``; anything that is no text is left to pydantic.

    Raises:
        ValueError: it is something else.

    Example:
        >>> parse_device("cpu").gpu is None
        True
    """
    if not isinstance(text, str):
        return text
    match = _NAMED.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no device. Use cpu, or cuda:0, cuda:1 and so on, with commas between")
    if match.group(1) is None:
        return Device(name=text)
    return Device(name=text, gpu=_nth_visible(int(match.group(1))))


def _nth_visible(index: int) -> str:
    """Count within what the server itself may see."""
    visible = _visible_gpus()
    return visible[index] if index < len(visible) else str(index)


def _visible_gpus() -> list[str]:
    if _VISIBLE in os.environ:
        return [gpu for gpu in os.environ[_VISIBLE].split(",") if gpu not in {"", "-1"}]
    return [str(index) for index, _ in enumerate(_NVIDIA.glob("*"))]


def devices_of(backend: str) -> tuple[Device, ...]:
    """Every GPU where the backend may use one and there is one, else the CPU."""
    if backend in {"cpu", "openvino"}:
        return (Device(name="cpu"),)
    found = tuple(Device(name=f"cuda:{index}", gpu=gpu) for index, gpu in enumerate(_visible_gpus()))
    return found or (Device(name="cpu"),)
