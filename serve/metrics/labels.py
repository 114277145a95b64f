"""Which values of a mask belong to which label: integers, and regions of several values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

BACKGROUND = 0
IGNORE = "ignore"  # nnU-Net's name of the label that is not evaluated


@dataclass(frozen=True)
class Label:
    """A label, or a region of several mask values.

    ``region``: whether nnU-Net would name it by the tuple of its members, as it does all lists of values once
    one of them holds several.
    """

    name: str
    members: tuple[int, ...]
    region: bool = False

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError(f"the label {self.name!r} has no values; name at least one")

    @property
    def key(self) -> str:
        """Name in nnU-Net's ``summary.json``.

        Example:
            >>> Label("tumour", (2,)).key, Label("whole", (1, 2), region=True).key
            ('2', '(1, 2)')
        """
        return str(self.members) if self.region else str(self.members[0])

    def mask(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Where the label is, bool, in an array of mask values."""
        if len(self.members) == 1:
            return np.asarray(values == self.members[0])
        return np.isin(values, self.members)


@dataclass(frozen=True)
class LabelSet:
    """Labels to evaluate, and the value of the reference where nothing is evaluated.

    ``complete``: masks hold no other values.
    """

    labels: tuple[Label, ...]
    ignore: int | None = None
    complete: bool = False

    def __post_init__(self) -> None:
        names = [label.name for label in self.labels]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"the labels are {names}; give at least one, and each a name of its own")
        both = [label.name for label in self.labels if self.ignore in label.members]
        if both:
            raise ValueError(
                f"{self.ignore} is the ignore label and a value of {both[0]!r}; choose one of both"
            )

    @property
    def by_region(self) -> bool:
        """Whether any label is a region: then nnU-Net's channels are the labels, without a background."""
        return any(label.region for label in self.labels)

    @property
    def known(self) -> frozenset[int]:
        """All values that masks may hold."""
        values = {value for label in self.labels for value in label.members}
        return frozenset(values | {BACKGROUND} | ({self.ignore} if self.ignore is not None else set()))

    @staticmethod
    def of_values(values: Iterable[int]) -> LabelSet:
        """Take each value but 0 for a label of its own.

        Example:
            >>> [label.name for label in LabelSet.of_values({0, 2, 1}).labels]
            ['1', '2']
        """
        return LabelSet(tuple(Label(str(value), (value,)) for value in sorted(set(values) - {BACKGROUND})))

    @staticmethod
    def of_dataset(description: Mapping[str, Any]) -> LabelSet:
        """Take the labels of nnU-Net's ``dataset.json``.

        Raises:
            ValueError: for labels that are not integers or lists of integers.

        Example:
            >>> labels = {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}
            >>> found = LabelSet.of_dataset({"labels": labels})
            >>> [(label.name, label.key) for label in found.labels], found.ignore
            ([('whole', '(1, 2)'), ('core', '2')], 3)
        """
        declared = description.get("labels")
        if not isinstance(declared, dict):
            expected = "write {'labels': {'background': 0, 'lesion': 1}}"
            raise ValueError(f"the labels of dataset.json are {declared!r}; {expected}")  # noqa: TRY004 - a file's content
        regions = any(isinstance(value, list) and len(value) > 1 for value in declared.values())
        labels = [
            _declared(name, value, regions=regions) for name, value in declared.items() if name != IGNORE
        ]
        ignore = declared.get(IGNORE)
        if ignore is not None and not _is_integer(ignore):
            raise ValueError(f"the ignore label is {ignore!r}; it is one integer")
        foreground = tuple(label for label in labels if set(label.members) != {BACKGROUND})
        return LabelSet(foreground, ignore, complete=True)

    @staticmethod
    def of_options(options: Iterable[str], ignore: int | None = None) -> LabelSet:
        """Take labels as the command line writes them.

        Raises:
            ValueError: for another form.

        Example:
            >>> LabelSet.of_options(["lesion=1", "whole=1,2"]).labels[1]
            Label(name='whole', members=(1, 2), region=True)
        """
        return LabelSet(tuple(_written(text) for text in options), ignore)


def _declared(name: str, value: Any, *, regions: bool) -> Label:
    values = value if isinstance(value, list) else [value]
    if not all(_is_integer(one) for one in values):
        raise ValueError(f"the label {name!r} is {value!r}; it is an integer or a list of integers")
    return Label(name, tuple(values), region=regions and isinstance(value, list))


def _written(text: str) -> Label:
    name, equals, values = text.partition("=")
    parts = (values if equals else name).split(",")
    if not name or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"the label {text!r} is not of the form NAME=1 or NAME=1,2")
    return Label(name, tuple(int(part) for part in parts), region=len(parts) > 1)


def whole_numbers(values: Any, name: str) -> NDArray[Any]:
    """Take an array of labels, in any type of numbers.

    Raises:
        ValueError: for NaN, infinity and fractions.

    Example:
        >>> whole_numbers([0.0, 2.0], "reference")
        array([0., 2.])
    """
    array = np.asarray(values)
    if array.dtype.kind == "f" and not bool(np.all(np.isfinite(array) & (array == np.rint(array)))):
        raise ValueError(f"the {name} holds numbers that are not whole; give a label for each voxel")
    return array


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
