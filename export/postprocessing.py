"""nnU-Net's ``postprocessing.pkl`` or ``postprocessing.json`` -> the bundle's steps.

A pickle runs whatever it names while it is read. This reader knows nnU-Net's one function and the whole
numbers of NumPy, builds neither, and refuses every other name.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from nnunet_losses.serve.schema import KeepLargest

from .errors import ExportError, ExportRefused, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

FUNCTION = "remove_all_but_largest_component_from_segmentation"
_MODULE = "nnunetv2.postprocessing.remove_connected_components"
_REMEDY = "Pass the file that nnUNetv2_determine_postprocessing or nnUNetv2_find_best_configuration wrote."


def read_postprocessing(path: str | Path) -> tuple[KeepLargest, ...]:
    """Read what ``nnUNetv2_apply_postprocessing`` would do.

    Args:
        path: ``postprocessing.pkl`` or ``postprocessing.json``.

    Returns:
        Steps in their order; none where nnU-Net found that none helps.

    Raises:
        ExportRefused: it names another function or argument than nnU-Net's own.
        ExportError: the file is missing or damaged.
    """
    path = Path(path)
    try:
        content = _read_json(path) if path.suffix == ".json" else _read_pickle(path)
        functions, arguments = content
        pairs = list(zip(functions, arguments, strict=True))
    except (OSError, ValueError, TypeError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise ExportError(f"{path} cannot be read as nnU-Net's postprocessing: {error}. {_REMEDY}") from error
    return tuple(_step(function, keywords) for function, keywords in pairs)


def refuse_postprocessing(steps: Sequence[KeepLargest]) -> None:
    """Raise for a step that a mask of 8 bits cannot take.

    Raises:
        ExportRefused: naming it.
    """
    wrong = [step.background for step in steps if step.background > 255]
    if wrong:
        raise ExportRefused([
            Reason(f"Postprocessing writes {wrong} for what it removes.", "Masks hold 8 bits: use 0.")
        ])  # fmt: skip


def _read_json(path: Path) -> Any:
    content = json.loads(path.read_text(encoding="utf-8"))
    return content["postprocessing_fns"], content["postprocessing_kwargs"]


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as stream:
        return _Reader(stream).load()


def _step(function: Any, keywords: Any) -> KeepLargest:
    if function != FUNCTION:
        _refuse(f"Postprocessing function {function}")
    unknown = sorted(set(keywords) - {"labels_or_regions", "background_label"})
    if unknown or "labels_or_regions" not in keywords:
        _refuse(f"Postprocessing arguments {sorted(keywords)}")
    values = sorted(set(_values(keywords["labels_or_regions"])))
    background = keywords.get("background_label", 0)
    if not values or not isinstance(background, int) or background < 0:
        _refuse(f"Postprocessing of labels {values} with background {background!r}")
    return KeepLargest(values=tuple(values), background=background)


def _values(labels_or_regions: Any) -> list[int]:
    """Voxels of all named labels count together, whether they stand alone, in regions or in lists."""
    if isinstance(labels_or_regions, int) and not isinstance(labels_or_regions, bool):
        return [labels_or_regions]
    if isinstance(labels_or_regions, list | tuple):
        return [value for part in labels_or_regions for value in _values(part)]
    return _refuse(f"Postprocessing of {labels_or_regions!r}")


def _refuse(what: str) -> NoReturn:
    raise ExportRefused([
        Reason(f"{what}: the runtime knows nnU-Net's {FUNCTION} with labels and background.", _REMEDY)
    ])  # fmt: skip


class _IntegerType:
    """Stands for ``numpy.dtype`` of whole numbers while a pickle is read."""

    def __init__(self, code: str, *_: Any) -> None:
        if code[:1] not in ("i", "u") or not code[1:].isdecimal():
            raise pickle.UnpicklingError(f"it holds numbers of the type {code!r}, not whole numbers")
        self._signed, self._big = code[0] == "i", False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._big = state[1] == ">"

    def read(self, content: bytes) -> int:
        """Whole number of its bytes."""
        return int.from_bytes(content, "big" if self._big else "little", signed=self._signed)


def _scalar(kind: _IntegerType, content: bytes) -> int:
    return kind.read(content)


def _old_bytes(text: str, _: str) -> bytes:
    return text.encode("latin1")


class _Reader(pickle.Unpickler):  # builds tuples, lists, dictionaries, text and numbers; nothing else
    """Finds nnU-Net's function by its name alone."""

    def find_class(self, module: str, name: str) -> Any:
        """Give a stand-in for a known name.

        Raises:
            ExportRefused: for every other.
        """
        if (module, name) == (_MODULE, FUNCTION):
            return FUNCTION
        if (module, name) == ("numpy", "dtype"):
            return _IntegerType
        if (module, name) == ("_codecs", "encode"):  # how old protocols write bytes
            return _old_bytes
        if name == "scalar" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return _scalar
        return _refuse(f"Postprocessing function {module}.{name}")
