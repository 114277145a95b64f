"""A Triton model repository of a bundle's tile networks.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_repository.html
https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto

Triton runs the network on tiles. Everything around it (reading, preprocessing, tiles, blending, labels) stays
with whoever calls it; the configuration's parameters say what these steps need.
"""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

from .errors import ExportError
from .onnx_graph import INPUT, LOGITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.schema import Fold, Member

CONFIGURATION = "config.pbtxt"
MODEL = "model.onnx"
MOST_TILES = 8  # of a batch: the mirrorings of one three-dimensional tile
QUEUE_DELAY_MICROSECONDS = 500
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")
_PARAMETERS = "\nparameters"


def write_triton(bundle: Bundle, folder: Path) -> list[Path]:
    """Write a Triton model for each fold of each configuration: ``NAME/config.pbtxt``, ``NAME/1/model.onnx``.

    Where a model of that name is already there with the same inputs and outputs, the network becomes its next
    version; the same network is not written twice.

    Args:
        bundle: what was exported.
        folder: the model repository; made if need be.

    Returns:
        The models' folders.

    Raises:
        ExportError: the folder holds another model under the same name, or cannot be written to.
    """
    description = bundle.description
    pairs = [(member, fold) for member in description.members for fold in member.folds]
    names = [model_name(description.name, member, fold) for member, fold in pairs]
    if len(set(names)) < len(names):
        raise ExportError(f"Two networks would have one name in the Triton repository: {', '.join(names)}.")
    try:
        return [_write_model(bundle, pair, folder / name) for pair, name in zip(pairs, names, strict=True)]
    except OSError as error:
        raise ExportError(f"{folder} cannot be written to: {error.strerror}.") from error


def model_name(bundle: str, member: Member, fold: Fold) -> str:
    """Name of a fold's Triton model: letters, digits and ``_.-`` alone.

    Example:
        >>> from types import SimpleNamespace
        >>> model_name("liver (CT)", SimpleNamespace(name="3d_fullres"), SimpleNamespace(name="0"))
        'liver_CT_3d_fullres_fold_0'
    """
    stem = _ODD.sub("_", bundle.removesuffix(".zip").removesuffix(".bundle")).strip("_.") or "model"
    return f"{stem}_{_ODD.sub('_', member.name)}_fold_{_ODD.sub('_', fold.name)}"


def _write_model(bundle: Bundle, pair: tuple[Member, Fold], folder: Path) -> Path:
    text = configuration(bundle, *pair, name=folder.name)
    source = bundle.file(pair[1].file)
    _check_same_model(folder, text)
    folder.mkdir(parents=True, exist_ok=True)
    versions = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    if not versions or not _same_file(source, folder / str(versions[-1]) / MODEL):
        _add_version(source, folder / str(versions[-1] + 1 if versions else 1))
    (folder / CONFIGURATION).write_text(text, encoding="utf-8")
    return folder


def _check_same_model(folder: Path, text: str) -> None:
    """Refuse to change what clients of an earlier version rely on."""
    present = folder / CONFIGURATION
    if not present.is_file():
        return
    earlier = present.read_text(encoding="utf-8").partition(_PARAMETERS)[0]
    if earlier != text.partition(_PARAMETERS)[0]:
        raise ExportError(
            f"{folder.name} is already in the Triton repository, with other inputs, outputs or settings. "
            "Name another folder, or remove that model."
        )


def _same_file(one: Path, two: Path) -> bool:
    from filecmp import cmp  # noqa: PLC0415

    return two.is_file() and cmp(one, two, shallow=False)


def _add_version(source: Path, version: Path) -> None:
    """A server that polls the repository must not see half a version."""
    temporary = version.with_name(f".{version.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    shutil.copyfile(source, temporary / MODEL)
    temporary.rename(version)


def configuration(bundle: Bundle, member: Member, fold: Fold, *, name: str) -> str:
    """``config.pbtxt`` of a fold's network, in protobuf's text format."""
    description = bundle.description
    previous = len(description.foreground_values) if member.previous_stage is not None else 0
    channels = len(member.preprocessing.channels) + previous
    patch = member.tiling.patch_size
    outputs = [(LOGITS, (description.heads, *patch))]
    outputs += [(stage.output, (stage.channels,)) for stage in member.features]
    most = MOST_TILES
    return "".join(
        (
            f"name: {_quoted(name)}\n",
            'platform: "onnxruntime_onnx"\n',
            f"max_batch_size: {most}\n",
            *_tensors("input", [(INPUT, (channels, *patch))]),
            *_tensors("output", outputs),
            "version_policy { latest { num_versions: 1 } }\n",
            "instance_group [ { count: 1 kind: KIND_AUTO } ]\n",
            "dynamic_batching {\n",
            f"  preferred_batch_size: [ {most} ]\n",
            f"  max_queue_delay_microseconds: {QUEUE_DELAY_MICROSECONDS}\n",
            "}",
            *_parameters(bundle, member, fold),
            "\n",
        )
    )


def _tensors(kind: str, tensors: Sequence[tuple[str, tuple[int, ...]]]) -> Iterator[str]:
    entries = (
        f"  {{ name: {_quoted(name)} data_type: TYPE_FP32 dims: [ {', '.join(map(str, dims))} ] }}"
        for name, dims in tensors
    )
    yield f"{kind} [\n" + ",\n".join(entries) + "\n]\n"


def _parameters(bundle: Bundle, member: Member, fold: Fold) -> Iterator[str]:
    """What a client must know to use the network as nnU-Net does."""
    values = {
        "bundle": bundle.description.name,
        "bundle_sha256": bundle.sha256,
        "network_sha256": fold.sha256,
        "configuration": member.name,
        "fold": fold.name,
        "channels": json.dumps([channel.name for channel in member.preprocessing.channels]),
        "tiling": member.tiling.model_dump_json(),
        "preprocessing": member.preprocessing.model_dump_json(),
    }
    for key, value in values.items():
        yield f"{_PARAMETERS} {{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}"


def _quoted(text: str) -> str:
    """A string of protobuf's text format; JSON escapes quotes, backslashes and control characters alike."""
    return json.dumps(text, ensure_ascii=False)
