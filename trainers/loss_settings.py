"""The parameters of a trainer's loss: those of its name, of nnU-Net's plan, of the training set."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

from nnunet_losses.registry import create_loss, get_loss_spec

from .class_frequency import class_voxels, inverse_frequency_weights, label_counts
from .labelled import FILE, LabelledCases, channel_names, read_labelled
from .names import Configuration
from .patch_voxels import SMALLEST, mean_patch_voxels, training_drawing
from .warm_up import WarmUp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from nnunet_losses.loss import Loss


def loss_settings(trainer: Any) -> dict[str, Any]:
    """All parameters of the loss for the patch's full resolution."""
    configuration, plan = trainer.loss_configuration, trainer.configuration_manager
    settings: dict[str, Any] = configuration.settings(batch_dice=plan.batch_dice)
    if settings.get("class_weights", ...) is None:
        settings["class_weights"] = inverse_frequency_weights(_training_voxels(trainer))
    if settings.get("class_frequencies", ...) is None:
        settings["class_frequencies"] = _training_voxels(trainer)
    if settings.get("spacing", ...) is None:
        settings["spacing"] = [float(length) for length in plan.spacing]
    _check_spacing(settings.get("spacing"), axes=len(plan.patch_size))
    if settings.get("smooth", ...) is None:
        settings["smooth"] = [max(voxels, SMALLEST) for voxels in _patch_voxels(trainer)]
    return settings


def _check_spacing(spacing: Sequence[float] | None, *, axes: int) -> None:
    if spacing is not None and len(spacing) != axes:
        raise ValueError(
            f"spacing={spacing} has {len(spacing)} numbers, but this configuration has {axes} axes; give one "
            "per axis, or leave it out to take the plan's."
        )


def create_output_loss(trainer: Any, settings: dict[str, Any], scale: Sequence[float]) -> nn.Module:
    """Make the loss of an output whose size is the patch's times a scale per axis."""
    configuration, plan = trainer.loss_configuration, trainer.configuration_manager
    loss = _create(trainer, configuration.loss, _scaled(settings, scale))
    if not configuration.warmup:
        return loss
    first = Configuration(get_loss_spec(configuration.loss).begins_on)
    settings_of_first = first.settings(batch_dice=plan.batch_dice)
    return WarmUp(_create(trainer, first.loss, settings_of_first), loss, share=configuration.warmup)


def _create(trainer: Any, key: str, settings: dict[str, Any]) -> Loss:
    labels = trainer.label_manager
    return create_loss(
        key,
        activation="sigmoid" if labels.has_regions else "softmax",
        ignore_index=None if labels.has_regions else labels.ignore_label,
        **settings,
    )


def _scaled(settings: dict[str, Any], scale: Sequence[float]) -> dict[str, Any]:
    """Voxels of a coarser output are larger, and an epsilon counted in voxels is so many fewer."""
    changed: dict[str, Any] = {}
    if "spacing" in settings:
        voxel = zip(settings["spacing"], scale, strict=True)
        changed["spacing"] = [length / factor for length, factor in voxel]
    if not isinstance(settings.get("smooth", 0.0), float | int):
        changed["smooth"] = [voxels * math.prod(scale) for voxels in settings["smooth"]]
    return settings | changed


def labelled_cases(trainer: Any) -> LabelledCases | None:
    """Which labels are drawn in which case, for a loss that needs to know; None for any other."""
    if "labelled" not in get_loss_spec(trainer.loss_configuration.loss).needs:
        return None
    labels, dataset_class = trainer.label_manager, infer_dataset_class(trainer.preprocessed_dataset_folder)
    training, validation = trainer.do_split()
    return read_labelled(
        Path(trainer.preprocessed_dataset_folder_base) / FILE,
        channels=channel_names(labels.label_dict, regions=labels.has_regions),
        needed=[*training, *validation],
        known=set(dataset_class.get_identifiers(trainer.preprocessed_dataset_folder)),
    )


def _training_cases(trainer: Any) -> Any:
    trainer.dataset_class = infer_dataset_class(trainer.preprocessed_dataset_folder)
    return trainer.get_tr_and_val_datasets()[0]


def _channels(trainer: Any) -> Sequence[int | tuple[int, ...]]:
    """Of each channel of the logits its label, or the labels of its region."""
    labels = trainer.label_manager
    channels: Sequence[int | tuple[int, ...]] = (
        labels.foreground_regions if labels.has_regions else labels.all_labels
    )
    return channels


def _training_voxels(trainer: Any) -> list[float]:
    """Voxels per channel of the logits in the training cases of the fold."""
    counts = label_counts(_training_cases(trainer), trainer.preprocessed_dataset_folder_base)
    return class_voxels(counts, _channels(trainer))


def _patch_voxels(trainer: Any) -> list[float]:
    """Mean voxels per channel of the logits in a training patch."""
    folder = trainer.preprocessed_dataset_folder_base
    means = mean_patch_voxels(
        _training_cases(trainer), training_drawing(trainer), trainer.label_manager, folder
    )
    return class_voxels(means, _channels(trainer))
