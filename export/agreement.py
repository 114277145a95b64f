"""Whether a bundle's description is the one that its model folder gives, field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import description

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nnunet_losses.serve.schema import KeepLargest, Member, ModelDescription

    from .members import MemberFolder
    from .model_folder import ModelFolder


def disagreements(
    bundle: ModelDescription, members: Sequence[MemberFolder], steps: Sequence[KeepLargest] = ()
) -> list[str]:
    """Name every field that decides a prediction and differs from what an export would write now.

    Images may not show it: a wrong step size moves no tile of a small image.

    Args:
        bundle: what the bundle says.
        members: the model folders, in the order of the bundle's members.
        steps: of the postprocessing file.
    """
    written = {
        "reader": bundle.reader.value,
        "file_ending": bundle.file_ending,
        "head": bundle.head.value,
        "heads": bundle.heads,
        "labels": [label.model_dump(mode="json") for label in bundle.labels],
        "ignore_label": bundle.ignore_label,
        "postprocessing": [step.model_dump(mode="json") for step in bundle.postprocessing],
    }
    found = list(_differences("", written, _given(members[0].model, steps)))
    for member, part in zip(bundle.members, members, strict=True):
        where = f"member {member.name}" if len(bundle.members) > 1 else ""
        found += _differences(where, _part(member), _given_part(part))
    return [
        f"model.json has {field} {found!r}; the model folder gives {wanted!r}"
        for field, found, wanted in found
    ]


def _part(member: Member) -> dict[str, Any]:
    return {
        "preprocessing": member.preprocessing.model_dump(mode="json"),
        "tiling": member.tiling.model_dump(mode="json"),
        "previous_stage": member.previous_stage,
        "averaged": member.averaged,
    }


def _given_part(part: MemberFolder) -> dict[str, Any]:
    return {
        "preprocessing": description.preprocessing(part.model).model_dump(mode="json"),
        "tiling": description.tiling(part.model).model_dump(mode="json"),
        "previous_stage": part.previous,
        "averaged": part.averaged,
    }


def _given(model: ModelFolder, steps: Sequence[KeepLargest]) -> dict[str, Any]:
    return {
        "reader": model.plans["image_reader_writer"],
        "file_ending": model.dataset["file_ending"],
        "head": description.head(model).value,
        "heads": model.labels.num_segmentation_heads,
        "labels": [label.model_dump(mode="json") for label in description.labels(model)],
        "ignore_label": model.labels.ignore_label,
        "postprocessing": [step.model_dump(mode="json") for step in steps],
    }


def _differences(path: str, found: Any, wanted: Any) -> Iterator[tuple[str, Any, Any]]:
    """Walk two trees of JSON values side by side."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in wanted:
            yield from _differences(f"{path}.{key}".lstrip("."), found.get(key), wanted[key])
    elif found != wanted:
        yield path, found, wanted
