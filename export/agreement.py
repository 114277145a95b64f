"""Whether a bundle's description is the one that its model folder gives, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import description

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnunet_losses.serve.schema import ModelDescription

    from .model_folder import ModelFolder


def disagreements(bundle: ModelDescription, model: ModelFolder) -> list[str]:
    """Name every field that decides a prediction and differs from what an export would write now.

    Images may not show it: a wrong step size moves no tile of a small image.
    """
    member = bundle.members[0]
    written = {
        "reader": bundle.reader.value,
        "file_ending": bundle.file_ending,
        "head": bundle.head.value,
        "heads": bundle.heads,
        "labels": [label.model_dump(mode="json") for label in bundle.labels],
        "configuration": member.name,
        "preprocessing": member.preprocessing.model_dump(mode="json"),
        "tiling": member.tiling.model_dump(mode="json"),
    }
    return [
        f"model.json has {field} {found!r}; the model folder gives {wanted!r}"
        for field, found, wanted in _differences("", written, _given(model))
    ]


def _given(model: ModelFolder) -> dict[str, Any]:
    return {
        "reader": model.plans["image_reader_writer"],
        "file_ending": model.dataset["file_ending"],
        "head": description.head(model).value,
        "heads": model.labels.num_segmentation_heads,
        "labels": [label.model_dump(mode="json") for label in description.labels(model)],
        "configuration": model.first.configuration,
        "preprocessing": description.preprocessing(model).model_dump(mode="json"),
        "tiling": description.tiling(model).model_dump(mode="json"),
    }


def _differences(path: str, found: Any, wanted: Any) -> Iterator[tuple[str, Any, Any]]:
    """Walk two trees of JSON values side by side."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in wanted:
            yield from _differences(f"{path}.{key}".lstrip("."), found.get(key), wanted[key])
    elif found != wanted:
        yield path, found, wanted
