"""A trained nnU-Net model folder, read the way nnU-Net's predictor reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint import Checkpoint, read_checkpoint, unwrapped
from .errors import ExportError, ExportRefused, ModelFolderError, Reason
from .quiet import quiet
from .trainer_class import find_trainer_class

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_CHECKPOINT = "checkpoint_final.pth"


@dataclass(frozen=True, eq=False)
class ModelFolder:
    """Everything that the files say. Where folds could disagree, the first one decides, as in nnU-Net."""

    path: Path
    checkpoint_name: str
    plans: dict[str, Any]
    dataset: dict[str, Any]
    fingerprint: dict[str, Any] | None
    checkpoints: tuple[Checkpoint, ...]

    @property
    def first(self) -> Checkpoint:
        """The fold that decides where folds could disagree."""
        return self.checkpoints[0]

    @cached_property
    def plans_manager(self) -> Any:
        """nnU-Net's PlansManager, which resolves ``inherits_from``."""
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415

        return PlansManager(self.plans)

    @cached_property
    def configuration(self) -> Any:
        """nnU-Net's ConfigurationManager; old-format plans are converted by it."""
        with quiet():
            return self.plans_manager.get_configuration(self.first.configuration)

    @cached_property
    def labels(self) -> Any:
        """nnU-Net's LabelManager."""
        with quiet():
            return self.plans_manager.get_label_manager(self.dataset)

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Input channels in the network's order."""
        names = self.dataset.get("channel_names") or self.dataset.get("modality") or {}
        return tuple(str(names[key]) for key in sorted(names, key=int))

    @property
    def input_channels(self) -> int:
        """Number of the network's input channels; a cascade has one more for each foreground label."""
        cascaded = self.configuration.previous_stage_name is not None
        return len(self.channel_names) + (len(self.labels.foreground_labels) if cascaded else 0)

    def network(self, checkpoint: Checkpoint) -> Any:
        """Build one fold's network as the predictor does: deep supervision off, evaluation mode.

        Raises:
            ModelFolderError: the weights do not fit the architecture, or the trainer is not there.
            ExportRefused: the architecture cannot be built here.
        """
        try:
            network = self._architecture()
        except ExportError:
            raise
        except Exception as error:
            raise ExportRefused([self._unknown_architecture(error)]) from error
        try:
            network.load_state_dict(unwrapped(checkpoint.weights))
        except RuntimeError as error:
            raise ModelFolderError(
                f"{checkpoint.path}: its weights do not fit the network of plans.json and trainer "
                f"{self.first.trainer}. Was one of them exchanged? {_first_lines(str(error))}"
            ) from error
        return network.eval()

    def _unknown_architecture(self, error: Exception) -> Reason:
        return Reason(
            f"Network {self.configuration.network_arch_class_name}, built by {self.first.trainer}, cannot be "
            f"built here ({type(error).__name__}: {_first_lines(str(error))}).",
            "Install the package that defines it, in the version of the training; 'nnunet-losses doctor' "
            "says what else may be broken here.",
        )

    def _architecture(self) -> Any:
        from inspect import signature  # noqa: PLC0415

        build = find_trainer_class(self.first.trainer).build_network_architecture
        configuration = self.configuration
        heads = self.input_channels, self.labels.num_segmentation_heads
        with quiet():
            if "plans_manager" in signature(build).parameters:
                return build(self.plans_manager, configuration, *heads, enable_deep_supervision=False)
            return build(
                configuration.network_arch_class_name,
                configuration.network_arch_init_kwargs,
                configuration.network_arch_init_kwargs_req_import,
                *heads,
                enable_deep_supervision=False,
            )


def read_model_folder(
    path: str | Path, *, folds: Sequence[int | str] | None = None, checkpoint: str = DEFAULT_CHECKPOINT
) -> ModelFolder:
    """Read a trained nnU-Net model folder (``…/Trainer__Plans__Configuration``).

    Args:
        path: the folder with plans.json, dataset.json and fold_0, fold_1 … or fold_all.
        folds: which folds, by default all numbered ones that hold the checkpoint; without any, ``all``.
        checkpoint: which checkpoint file.

    Raises:
        ModelFolderError: something is missing or unreadable; the message says what, and what to pass instead.
    """
    folder = _model_folder(Path(path))
    names = tuple(str(fold) for fold in folds) if folds else _available_folds(folder, checkpoint)
    if len(set(names)) < len(names):
        raise ModelFolderError(f"Folds {' '.join(names)}: a fold is named twice.")
    return ModelFolder(
        path=folder,
        checkpoint_name=checkpoint,
        plans=_read_json(folder / "plans.json"),
        dataset=_read_json(folder / "dataset.json"),
        fingerprint=_read_json(folder / "dataset_fingerprint.json", optional=True),
        checkpoints=tuple(
            read_checkpoint(_checkpoint_path(folder, fold, checkpoint), fold) for fold in names
        ),
    )


def _model_folder(path: Path) -> Path:
    if not path.is_dir():
        raise ModelFolderError(f"{path} is no folder. Pass the folder that holds plans.json and fold_0.")
    if path.name.startswith("fold_") and (path.parent / "plans.json").is_file():
        fold = path.name.removeprefix("fold_")
        raise ModelFolderError(f"{path} is one fold. Pass its parent {path.parent} and --folds {fold}.")
    missing = [name for name in ("plans.json", "dataset.json") if not (path / name).is_file()]
    if missing:
        inside = sorted(found.parent.name for found in path.glob("*/plans.json"))
        inside_it = f"It holds model folders: pass one of {', '.join(inside)}."
        remedy = inside_it if inside else "Pass what nnUNetv2_train wrote, TRAINER__PLANS__CONFIGURATION."
        raise ModelFolderError(
            f"{path} is no trained nnU-Net model folder: it lacks {' and '.join(missing)}. {remedy}"
        )
    return path


def _available_folds(folder: Path, checkpoint: str) -> tuple[str, ...]:
    found = [path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}")]
    numbered = sorted((name for name in found if name.isdecimal()), key=int)
    if numbered or "all" in found:
        return tuple(numbered) or ("all",)
    others = sorted({path.name for path in folder.glob("fold_*/*.pth")})
    hint = f" Present are {', '.join(others)}: choose with --checkpoint." if others else " Was it trained?"
    raise ModelFolderError(f"{folder} holds no fold with {checkpoint}.{hint}")


def _checkpoint_path(folder: Path, fold: str, checkpoint: str) -> Path:
    path = folder / f"fold_{fold}" / checkpoint
    if not path.is_file():
        present = sorted(
            found.parent.name.removeprefix("fold_") for found in folder.glob(f"fold_*/{checkpoint}")
        )
        raise ModelFolderError(
            f"{folder} has no fold {fold} with {checkpoint}. "
            f"Folds that have it: {' '.join(present) if present else 'none'}."
        )
    return path


def _read_json(path: Path, *, optional: bool = False) -> Any:
    if optional and not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFolderError(f"{path} cannot be read as JSON: {error}.") from error


def _first_lines(text: str, limit: int = 300) -> str:
    return " ".join(text.split())[:limit]
