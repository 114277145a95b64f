"""Trainer names: ``nnUNetTrainer<T>[_<param><value>]...[_<Variant>][_<N>epochs]``.

The name is the whole configuration, and a configuration has one name. Needs neither nnU-Net nor PyTorch.

Example:
    >>> parse("nnUNetTrainerTversky_fp0p2_fn0p8_250epochs").parameters
    {'fp': 0.2, 'fn': 0.8}
    >>> format_name(Configuration("dice_topk", variant="NoMirroring", epochs=100))
    'nnUNetTrainerDiceTopK_NoMirroring_100epochs'
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnunet_losses.registry import get_loss_spec, list_losses
from nnunet_losses.spec import WARMUP

from .spelling import read_parameter, spell, squash
from .variants import VARIANTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nnunet_losses.spec import LossSpec

PREFIX = "nnUNetTrainer"
DEFAULT_EPOCHS = 1000  # nnU-Net's own
_EPOCHS = re.compile(r"([1-9][0-9]{0,8})epochs")


class TrainerNameError(ValueError):
    """A name that is not one of ours.

    Attributes:
        resembles: whether it begins like one of ours, so that it was probably meant to be one.
        nearest: the nearest valid name, if there is one.
    """

    def __init__(self, name: str, reason: str, *, resembles: bool, nearest: str | None) -> None:
        remedy = f" The nearest valid name is {nearest}." if nearest else ""
        super().__init__(f"{name} is not a trainer of nnunet-losses: {reason}.{remedy}")
        self.resembles = resembles
        self.nearest = nearest


@dataclass(frozen=True)
class Configuration:
    """What a trainer's name says.

    Args:
        loss: key of the loss.
        parameters: the parameters that differ from the defaults, those of the loss and, for losses that do
            not train from scratch, ``warmup``. ``phi`` stands here whenever it is chosen, because a trainer's
            default is nnU-Net's plan.
        variant: trainer variant of nnU-Net to build upon, a key of ``variants.VARIANTS``.
        epochs: length of the training.
    """

    loss: str
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)
    variant: str | None = None
    epochs: int = DEFAULT_EPOCHS

    def settings(self, *, batch_dice: bool) -> dict[str, Any]:
        """All parameters of the loss under a plan.

        Args:
            batch_dice: of nnU-Net's configuration: then region sums run over the batch (phi "BI", else "I").

        Example:
            >>> Configuration("dice").settings(batch_dice=True)["phi"]
            'BI'
        """
        spec = get_loss_spec(self.loss)
        by_plan = {"phi": "BI" if batch_dice else "I"} if "phi" in spec.parameters else {}
        settings = spec.parse_for_trainer(by_plan | dict(self.parameters))
        return {name: value for name, value in settings.items() if name in spec.parameters}

    @property
    def warmup(self) -> float:
        """Share of the epochs on ``begins_on`` of the loss, 0 for a loss that trains from scratch.

        Example:
            >>> Configuration("lovasz").warmup, Configuration("lovasz", {"warmup": 0}).warmup
            (0.5, 0.0)
            >>> Configuration("cat_mil", {"warmup": 20}).warmup  # epochs, and a parameter of the loss
            0.0
        """
        spec = get_loss_spec(self.loss)
        return float(spec.parse_for_trainer(self.parameters)[WARMUP]) if spec.begins_on else 0.0


def format_name(configuration: Configuration) -> str:
    """Write the one name of a configuration.

    Raises:
        ValueError: unknown loss or variant, fewer than 1 epoch, or a value that no name can hold.
        TypeError: a parameter that the loss does not have.

    Example:
        >>> format_name(Configuration("dice", {"smooth": 1e-7, "squared": False}))
        'nnUNetTrainerDice_smooth1em7'
    """
    spec = get_loss_spec(configuration.loss)
    parts = [PREFIX + spec.trainer, *_spell_parameters(spec, configuration.parameters)]
    if configuration.variant is not None:
        parts.append(_checked_variant(configuration.variant))
    if _checked_epochs(configuration.epochs) != DEFAULT_EPOCHS:
        parts.append(f"{configuration.epochs}epochs")
    return "_".join(parts)


def parse(name: str) -> Configuration:
    """Read a trainer's name.

    Raises:
        TrainerNameError: the name is none of ours; a ``ValueError``, with the nearest valid name.

    Example:
        >>> parse("nnUNetTrainerDiceCE_NoMirroring")
        Configuration(loss='dice_ce', parameters={}, variant='NoMirroring', epochs=1000)
        >>> parse("nnUNetTrainerTversky_fn0p8_fp0p2")  # parameters stand in the order of the catalogue
        Traceback (most recent call last):
            ...
        nnunet_losses.trainers.names.TrainerNameError: nnUNetTrainerTversky_fn0p8_fp0p2 is not a trainer of \
nnunet-losses: another spelling of a name. The nearest valid name is nnUNetTrainerTversky_fp0p2_fn0p8.
    """
    head, *segments = name.removeprefix(PREFIX).split("_")
    spec = trainer_specs().get(head) if name.startswith(PREFIX) else None
    if spec is None:
        raise _refusal(name, "no loss has this name")
    configuration, unread = read_segments(spec, segments)
    if unread:
        raise _refusal(
            name, f"{unread[0]!r} is no parameter of {spec.key}, no variant and no number of epochs"
        )
    if format_name(configuration) != name:
        raise _refusal(name, "another spelling of a name")
    return configuration


def trainer_specs() -> dict[str, LossSpec]:
    """Map ``T`` of ``nnUNetTrainer<T>`` to its loss."""
    return {spec.trainer: spec for spec in map(get_loss_spec, list_losses())}


def default_names() -> list[str]:
    """List the trainers with default parameters, in the order of the catalogue."""
    return [PREFIX + trainer for trainer in trainer_specs()]


def read_segments(spec: LossSpec, segments: list[str]) -> tuple[Configuration, list[str]]:
    """Read what follows the loss, in any order of parameters; also return what could not be read."""
    rest, epochs = _split_epochs(segments)
    rest, variant = _split_variant(rest)
    parameters: dict[str, Any] = {}
    unread: list[str] = []
    for segment in rest:
        readings = dict(read_parameter(segment, spec))
        if len(readings) == 1 and not readings.keys() & parameters.keys():
            parameters |= readings
        else:
            unread.append(segment)
    return Configuration(spec.key, _without_defaults(spec, parameters), variant, epochs), unread


def _split_epochs(segments: list[str]) -> tuple[list[str], int]:
    match = _EPOCHS.fullmatch(segments[-1]) if segments else None
    if match is None:
        return segments, DEFAULT_EPOCHS
    return segments[:-1], int(match[1])


def _split_variant(segments: list[str]) -> tuple[list[str], str | None]:
    for start in range(len(segments)):  # the longest first: variants may hold underscores
        if "_".join(segments[start:]) in VARIANTS:
            return segments[:start], "_".join(segments[start:])
    return segments, None


def _without_defaults(spec: LossSpec, parameters: Mapping[str, Any]) -> dict[str, Any]:
    values = spec.parse_for_trainer(parameters)
    defaults = spec.parse_for_trainer({})
    return {
        name: value
        for name, value in values.items()
        if value != defaults[name] or (name == "phi" and name in parameters)
    }


def _spell_parameters(spec: LossSpec, parameters: Mapping[str, Any]) -> list[str]:
    return [squash(name) + spell(value) for name, value in _without_defaults(spec, parameters).items()]


def _checked_variant(variant: str) -> str:
    if variant in VARIANTS:
        return variant
    raise ValueError(
        f"nnU-Net has no trainer variant {variant!r} to build upon. There are: {', '.join(VARIANTS)}."
    )


def _checked_epochs(epochs: int) -> int:
    if isinstance(epochs, int) and not isinstance(epochs, bool) and epochs >= 1:
        return epochs
    raise ValueError(f"epochs={epochs!r} is not valid: expected a whole number of at least 1.")


def _refusal(name: str, reason: str) -> TrainerNameError:
    from .nearest import nearest_name, resembles_ours

    return TrainerNameError(name, reason, resembles=resembles_ours(name), nearest=nearest_name(name))
