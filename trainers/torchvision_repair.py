"""Makes a torchvision importable whose compiled operators do not fit the installed PyTorch.

It is the usual state of machines without a GPU: PyPI's torchvision is the CUDA build, its library cannot
be loaded beside a CPU build of PyTorch, and ``import torchvision`` ends with "operator torchvision::nms
does not exist". nnU-Net imports torchvision (through timm) in its search for trainers, and uses none of
its operators.
"""

from __future__ import annotations

from typing import Any

# The operators for which torchvision registers shapes without asking whether its library was loaded.
SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_kept: list[Any] = []  # torch takes the declarations back when their library object dies


def declare_missing_operators() -> list[str]:
    """Declare those of the operators that do not exist, without an implementation; return their names.

    Where torchvision's library was loaded, nothing is missing and nothing is done. Calling a declared
    operator still raises: this does not make torchvision's detection operators work.
    """
    import torch
    from torch.library import Library

    missing = [name for name in SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library: Any = Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch's
        for name in missing:
            library.define(SCHEMAS[name])
        _kept.append(library)
    return missing
