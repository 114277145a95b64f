"""Of what the software consists that answers."""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata

_LIBRARIES = ("nnunet-losses", "numpy", "scipy", "SimpleITK", "nibabel", "tifffile")


@cache
def _version(distribution: str) -> str:
    return metadata.version(distribution)


def versions() -> dict[str, str]:
    """Versions of whatever took part: this package, the libraries, and the engines that are loaded."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    named = {name: _version(name) for name in _LIBRARIES}
    engines = {
        name: str(module.__version__)
        for name in ("onnxruntime", "openvino")
        if (module := sys.modules.get(name)) is not None and hasattr(module, "__version__")
    }
    return {"python": python} | named | engines
