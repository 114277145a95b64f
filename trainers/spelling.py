"""Parameters as they stand in a trainer's name: `p` is the decimal point, `m` minus, `e` the exponent."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnunet_losses.spec import LossSpec

_NUMBER = re.compile(r"m?[0-9]+(p[0-9]+)?(em?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z0-9_]+")


def spell(value: object) -> str:
    """Write a value into a name: numbers as Python prints them, with letters for the signs.

    Raises:
        ValueError: the value has no spelling (a list, None, NaN, an infinite number).

    Example:
        >>> spell(0.2), spell(1e-7), spell(-2.0), spell(True), spell("rebalance_relative")
        ('0p2', '1em7', 'm2', 'true', 'rebalancerelative')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _WORD.fullmatch(value):
        return squash(value)
    if isinstance(value, int | float) and math.isfinite(value):
        return _spell_number(float(value))
    raise ValueError(
        f"{value!r} cannot be written into a trainer's name: only finite numbers, booleans and words can. "
        "Derive a class from nnunet_losses.trainers.with_loss(nnUNetTrainer, key, ...) instead."
    )


def _spell_number(number: float) -> str:
    text = repr(number + 0.0).removesuffix(".0")  # + 0.0 makes 0.0 of -0.0
    mantissa, _, exponent = text.partition("e")
    mantissa = mantissa.replace("-", "m").replace(".", "p")
    return f"{mantissa}e{int(exponent)}".replace("-", "m") if exponent else mantissa


def squash(name: str) -> str:
    """Drop the underscores, which separate the parts of a name."""
    return name.replace("_", "")


def read_number(text: str) -> float | None:
    """Read a number from a name; None if the text is none.

    Example:
        >>> read_number("2p5em7"), read_number("m3"), read_number("0.5")
        (2.5e-07, -3.0, None)
    """
    return float(text.replace("m", "-").replace("p", ".")) if _NUMBER.fullmatch(text) else None


def read_parameter(segment: str, spec: LossSpec) -> Iterator[tuple[str, Any]]:
    """Yield every (parameter, value) of the loss that a segment such as ``fp0p2`` can mean."""
    for field in spec.trainer_fields:
        key = squash(field.name)
        if not (field.nameable and segment.startswith(key)):
            continue
        for value in _read_values(segment.removeprefix(key), spec.choices.get(field.name, ())):
            try:
                yield field.name, field.parse(value)
            except ValueError:
                continue  # of another type, or outside the parameter's range


def _read_values(text: str, words: tuple[str, ...]) -> Iterator[Any]:
    number = read_number(text)
    if number is not None:
        yield number
    if text in ("true", "false"):
        yield text == "true"
    yield from (word for word in words if squash(word) == text)
