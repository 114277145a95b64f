"""What the catalogue says about one loss: plain data, so that listing losses needs no PyTorch."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .loss import Loss

Activation = Literal["softmax", "sigmoid"]
WARMUP = "warmup"  # the parameter of trainers whose loss does not train from scratch
Need = Literal["class_weights", "class_frequencies", "epsilon", "geometry", "labelled", "schedule"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a loss: its name, its default, and what it accepts.

    ``parse`` returns the value in its canonical type, or raises a ``ValueError`` that names the value, what
    is expected and the default.
    """

    name: str
    default: Any
    about: str

    @property
    def nameable(self) -> bool:
        """Whether values other than the default can be spelled in a trainer name."""
        return True

    @property
    def expectation(self) -> str:
        """What is accepted, in words."""
        raise NotImplementedError

    def convert(self, value: Any) -> Any:
        """Return the value in its canonical type; raise ``ValueError`` or ``TypeError`` for any other."""
        raise NotImplementedError

    def parse(self, value: Any) -> Any:
        """Check and convert a value. The default is always accepted."""
        if value is None and self.default is None:
            return None
        try:
            return self.convert(value)
        except (TypeError, ValueError):
            allowed = f"{self.expectation}, or None" if self.default is None else self.expectation
            message = (
                f"{self.name}={value!r} is not valid: expected {allowed}. The default is {self.default!r}."
            )
            raise ValueError(message) from None


@dataclass(frozen=True)
class Number(Parameter):
    """A finite number from ``low`` to ``high``; ``low`` itself only if ``closed``."""

    low: float = 0.0
    high: float = math.inf
    closed: bool = True
    whole: bool = False

    @property
    def expectation(self) -> str:
        """The interval in words."""
        low = f"at least {self.low:g}" if self.closed else f"greater than {self.low:g}"
        high = "" if math.isinf(self.high) else f" and at most {self.high:g}"
        return f"a {'whole' if self.whole else 'finite'} number {low}{high}"

    def convert(self, value: Any) -> float | int:
        """Accept any real number but a bool."""
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError
        number = float(value)
        above = number >= self.low if self.closed else number > self.low
        if not (math.isfinite(number) and above and number <= self.high):
            raise ValueError
        if self.whole and number != int(number):
            raise ValueError
        return int(number) if self.whole else number


@dataclass(frozen=True)
class Flag(Parameter):
    """True or False."""

    @property
    def expectation(self) -> str:
        """The two values."""
        return "True or False"

    def convert(self, value: Any) -> bool:
        """Accept a bool only: 0 and 1 are more often a mistake than a flag."""
        if not isinstance(value, bool):
            raise TypeError
        return value


@dataclass(frozen=True)
class Choice(Parameter):
    """One of a few words."""

    values: tuple[str, ...] = ()

    @property
    def expectation(self) -> str:
        """The words."""
        return "one of " + ", ".join(repr(value) for value in self.values)

    def convert(self, value: Any) -> str:
        """Accept a listed word."""
        if value not in self.values:
            raise ValueError
        return str(value)


@dataclass(frozen=True)
class PerClass(Parameter):
    """Non-negative numbers, one per channel of the logits, not all zero. No trainer name can spell them."""

    @property
    def nameable(self) -> bool:
        """Lists cannot be spelled."""
        return False

    @property
    def expectation(self) -> str:
        """The list in words."""
        return "a sequence of finite numbers >= 0, one per channel (background included), not all 0"

    def convert(self, value: Any) -> tuple[float, ...]:
        """Accept any iterable of numbers."""
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise TypeError
        numbers = tuple(float(item) for item in value)
        if not any(numbers) or not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise ValueError
        return numbers


@dataclass(frozen=True)
class NumberOrPerClass(Number):
    """One number, or one per channel of the logits."""

    @property
    def expectation(self) -> str:
        """Both forms in words."""
        return f"{super().expectation}, or {PerClass(self.name, None, self.about).expectation}"

    def convert(self, value: Any) -> Any:
        """Try a number, then a list."""
        if isinstance(value, Real):
            return super().convert(value)
        return PerClass(self.name, None, self.about).convert(value)


@dataclass(frozen=True)
class Spacing(PerClass):
    """Distance between voxel centres along each spatial axis. It comes from the data."""

    @property
    def expectation(self) -> str:
        """The list in words."""
        return "two or three finite numbers > 0, one per spatial axis, in the order of the array"

    def convert(self, value: Any) -> tuple[float, ...]:
        """Accept two or three positive numbers."""
        numbers = super().convert(value)
        if len(numbers) not in (2, 3) or not all(numbers):
            raise ValueError
        return numbers


@dataclass(frozen=True)
class LossSpec:
    """The entry of one loss in the catalogue.

    Args:
        key: name for ``create_loss``.
        trainer: ``T`` of the trainer's name ``nnUNetTrainer<T>``.
        module: where the class is, ``"dice:DiceLoss"``, inside this package. It is imported on first use.
        summary: one sentence.
        formula: LaTeX, with p probability, y one-hot target, V number of valid voxels.
        reference: publication.
        url: where to find it.
        fields: the parameters, in the order of trainer names.
        needs: what comes from outside the batch: weights of the training set, geometry, the epoch.
        geometry: names of the maps that it needs, see ``geometry.maps.MAPS``.
        activations: the heads that it is defined for.
        regions: the largest number of channels under sigmoid; None: any.
        minimum: its lowest value, reached by a perfect prediction; None where that depends on parameters.
        begins_on: key of the loss on which a trainer spends the first epochs, because this one does not train
            from scratch; "": none. Trainers then have one more parameter, ``warmup``.
        advice: how the publication trains with it, where that matters, and what the trainer does of it.
        joined: whether the ranks of a distributed training, with equal batch sizes and averaged gradients,
            get the gradient of one process with the joined batch. So they do its value; where terms belong to
            samples (phi "I", "CI") the mean of their values is it. False: every rank is for itself.

    Example:
        >>> from nnunet_losses import get_loss_spec
        >>> spec = get_loss_spec("tversky")
        >>> spec.trainer, dict(spec.parameters)["fn"], spec.has_dice
        ('Tversky', 0.7, True)
    """

    key: str
    trainer: str
    module: str
    summary: str
    formula: str
    reference: str
    url: str
    fields: tuple[Parameter, ...] = ()
    needs: frozenset[Need] = frozenset()
    geometry: tuple[str, ...] = ()
    activations: tuple[Activation, ...] = ("softmax", "sigmoid")
    regions: int | None = None
    minimum: float | None = 0.0
    begins_on: str = ""
    advice: str = ""
    joined: bool = True
    parameters: Mapping[str, Any] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the ordered mapping of defaults."""
        object.__setattr__(self, "parameters", {item.name: item.default for item in self.fields})

    @property
    def nameable(self) -> tuple[str, ...]:
        """Names of the parameters that a trainer name can spell, in their order."""
        return tuple(item.name for item in self.fields if item.nameable)

    @property
    def trainer_fields(self) -> tuple[Parameter, ...]:
        """The parameters of a trainer: those of the loss, and what only a trainer knows.

        Example:
            >>> from nnunet_losses import get_loss_spec
            >>> [field.name for field in get_loss_spec("boundary").trainer_fields]
            ['spacing', 'warmup']
        """
        about = f"share of the epochs on {self.begins_on}, before the loss itself; 0: none"
        return (*self.fields, Number(WARMUP, 0.5, about, high=1.0)) if self.begins_on else self.fields

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The words that each parameter of words accepts."""
        return {item.name: item.values for item in self.fields if isinstance(item, Choice)}

    @property
    def has_dice(self) -> bool:
        """Whether it has a region part, and so takes ``phi`` and ``smooth``."""
        return "phi" in self.parameters

    def parse(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Check parameters, fill in defaults, and return all in the order of the catalogue.

        Raises:
            TypeError: for a parameter that this loss does not have.
            ValueError: for a value that its parameter does not accept.
        """
        return _parse(f"loss {self.key!r}", self.fields, params)

    def parse_for_trainer(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Do as ``parse``, for the parameters of the trainer."""
        return _parse(f"the trainer of {self.key!r}", self.trainer_fields, params)

    def load(self) -> type[Loss]:
        """Import the class. This is what needs PyTorch."""
        module, name = self.module.split(":")
        loss: type[Loss] = getattr(import_module(f".{module}", __package__), name)
        return loss


def _parse(owner: str, fields: Sequence[Parameter], params: Mapping[str, Any]) -> dict[str, Any]:
    known = [item.name for item in fields]
    for name in params:
        if name not in known:
            raise TypeError(_unknown(owner, name, known))
    return {item.name: item.parse(params.get(item.name, item.default)) for item in fields}


def _unknown(owner: str, name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{owner} has no parameter {name!r}.{hint} Its parameters: {', '.join(known) or 'none'}."
