"""One fold's checkpoint file.

Loading a checkpoint runs code that it may contain (it is a pickle): only export checkpoints that you trust.
The bundle itself holds no pickle.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.bundle import file_sha256

from .errors import ModelFolderError

if TYPE_CHECKING:
    from pathlib import Path

_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
_NEEDED = ("network_weights", "init_args", "trainer_name")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint says; the weights are mapped from the file, not read, until they are used."""

    fold: str  # "0" .. or "all"
    path: Path
    sha256: str
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]
    epoch: int | None
    plans: dict[str, Any] | None  # as they were when training began
    dataset: dict[str, Any] | None
    weights: dict[str, Any]


def unwrapped(weights: dict[str, Any]) -> dict[str, Any]:
    """Remove the prefixes that DDP and ``torch.compile`` put before every parameter's name.

    Example:
        >>> unwrapped({"module._orig_mod.encoder.weight": 1})
        {'encoder.weight': 1}
    """
    while weights and (prefix := next((w for w in _WRAPPERS if all(k.startswith(w) for k in weights)), None)):
        weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights


def read_checkpoint(path: Path, fold: str) -> Checkpoint:
    """Read a checkpoint of ``nnUNetTrainer.save_checkpoint``.

    Raises:
        ModelFolderError: the file is unreadable, or not an nnU-Net checkpoint.
    """
    content = _load(path)
    missing = [key for key in _NEEDED if key not in content]
    if missing or "configuration" not in content["init_args"]:
        raise ModelFolderError(
            f"{path} is no nnU-Net v2 checkpoint, it lacks {', '.join(missing or ['the configuration'])}. "
            "Pass the folder that nnUNetv2_train wrote."
        )
    arguments = content["init_args"]
    return Checkpoint(
        fold=fold,
        path=path,
        sha256=file_sha256(path),
        trainer=content["trainer_name"],
        configuration=arguments["configuration"],
        mirror_axes=tuple(int(axis) for axis in content.get("inference_allowed_mirroring_axes") or ()),
        epoch=content.get("current_epoch"),
        plans=arguments.get("plans"),
        dataset=arguments.get("dataset_json"),
        weights=content["network_weights"],
    )


def _load(path: Path) -> dict[str, Any]:
    import torch  # noqa: PLC0415 - the command line's help must not wait for it

    try:
        content = torch.load(path, map_location="cpu", weights_only=False, mmap=zipfile.is_zipfile(path))
    except Exception as error:
        raise ModelFolderError(
            f"{path} cannot be read ({type(error).__name__}: {error}). "
            "It may be incomplete: copy it again, or choose another one with --checkpoint."
        ) from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} holds a {type(content).__name__}, not an nnU-Net v2 checkpoint.")
    return content
