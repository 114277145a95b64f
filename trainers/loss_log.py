"""What a trainer says in nnU-Net's log about its loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses.registry import get_loss_spec
from nnunet_losses.schedule import warm_up_epochs

from .labelled import channel_names

if TYPE_CHECKING:
    from collections.abc import Sequence


def describe_loss(trainer: Any, settings: dict[str, Any]) -> str:
    """Say in the training's log which loss this is, and where its parameters are from."""
    configuration, labels = trainer.loss_configuration, trainer.label_manager
    spec = get_loss_spec(configuration.loss)
    values = [f"{name}={value!r}" for name, value in settings.items()]
    chosen = "the name" if "phi" in configuration.parameters else "the plan's batch_dice"
    phi = [f"phi is from {chosen}"] if "phi" in settings else []
    kind = "sigmoid over regions" if labels.has_regions else "softmax over labels"
    ignored = f"ignore label {labels.ignore_label}" if labels.has_ignore_label else "no ignore label"
    details = ", ".join([*values, *phi, kind, ignored])
    first = f"Loss {spec.key} of nnunet-losses: {details}."
    return " ".join(
        filter(None, [first, _epsilon(trainer), _labelled(trainer), _warm_up(trainer), spec.advice])
    )


def _epsilon(trainer: Any) -> str:
    configuration = trainer.loss_configuration
    if "epsilon" not in get_loss_spec(configuration.loss).needs or "smooth" in configuration.parameters:
        return ""
    return "smooth is the mean number of voxels per training patch, and falls with the voxels of an output."


def _labelled(trainer: Any) -> str:
    if trainer.labelled is None:
        return ""
    labels = trainer.label_manager
    names = channel_names(labels.label_dict, regions=labels.has_regions)
    flags = trainer.labelled.flags.values()
    counts = [
        f"{name} in {sum(column)}" for name, column in zip(names, zip(*flags, strict=True), strict=True)
    ]
    return f"Labelled, of {len(flags)} cases: {', '.join(counts)}."


def _warm_up(trainer: Any) -> str:
    share = trainer.loss_configuration.warmup
    first = get_loss_spec(trainer.loss_configuration.loss).begins_on
    epochs = f"{warm_up_epochs(share, trainer.num_epochs)} of {trainer.num_epochs} epochs"
    return f"The first {epochs} train with {first} (warmup={share:g})." if share else ""


def describe_weights(losses: Sequence[Any]) -> str:
    """Say which weights of a schedule are in force; nothing for losses without a schedule.

    Args:
        losses: of the outputs. A schedule that looks at values may differ between them.

    Example:
        >>> from nnunet_losses import create_loss
        >>> describe_weights([create_loss("ce_to_dice_linear")] * 2), describe_weights([create_loss("dice")])
        ('Loss weights: ce 1, dice 0', '')
    """
    texts = [
        ", ".join(f"{name} {weight:.4g}" for name, weight in loss.weights.items())
        for loss in losses
        if hasattr(loss, "weights")
    ]
    if len(set(texts)) > 1:
        return "Loss weights: " + "; ".join(f"output {number}: {text}" for number, text in enumerate(texts))
    return f"Loss weights: {texts[0]}" if texts else ""
