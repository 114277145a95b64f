"""What is worth knowing about each loss: prose, and what it was measured to do on empty labels.

The prose is data (one TOML file per family), so that the pages in ``docs/losses`` and ``nnunet-losses
describe`` say the same. ``empties.json`` is written by ``make docs-losses``.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

Texts = tuple[str, ...]


@dataclass(frozen=True)
class LossNotes:
    """Notes on one loss.

    Args:
        use: when to use it, in one line.
        plain: the formula without LaTeX.
        cost: what it computes beyond one pass over the voxels.
        published: defaults of the paper.
        when: when to use it.
        unless: when not.
        avoided: defects of published code that this implementation does not have.
        know: numbers and gradients to know.
        evidence: what others found, with the source.
        code: where the authors' or the audited code is.
    """

    use: str
    plain: str
    cost: str
    published: str
    when: Texts
    unless: Texts
    avoided: Texts = ()
    know: Texts = ()
    evidence: Texts = ()
    code: Texts = ()


@dataclass(frozen=True)
class Family:
    """Losses that share an idea."""

    name: str
    about: str
    notes: dict[str, LossNotes]


@dataclass(frozen=True)
class EmptyRow:
    """What a loss with some setting does on false alarms where a class has no voxel.

    Args:
        setting: "default", or what differs from it.
        values: the loss of a batch without a lesion, by false alarm: none, a small one, a large one.
        pushes: by situation, mean gradient over a small and a large false alarm, divided by that of
            cross-entropy: 1 pushes it down as hard, 0 not at all.
    """

    setting: str
    values: tuple[float, ...]
    pushes: dict[str, tuple[float, ...]]


@cache
def families() -> tuple[Family, ...]:
    """Return all families in the order of the documentation.

    Example:
        >>> [family.name for family in families()][:2]
        ['Voxel losses', 'Overlap losses']
    """
    names = sorted(item.name for item in files(__name__).iterdir() if item.name.endswith(".toml"))
    return tuple(_read(name) for name in names)


def family_of(key: str) -> Family:
    """Return the family of a loss.

    Raises:
        ValueError: if no notes on it exist.
    """
    for family in families():
        if key in family.notes:
            return family
    raise ValueError(f"there are no notes on the loss {key!r}: add a table [{key}] to a file of its family")


def notes_of(key: str) -> LossNotes:
    """Return the notes on a loss.

    Raises:
        ValueError: if there are none.

    Example:
        >>> notes_of("dice").plain
        '1 - (2 TP + smooth)/(P + G + smooth)'
    """
    return family_of(key).notes[key]


def empty_rows(key: str) -> tuple[EmptyRow, ...]:
    """Return what was measured on empty labels, the default setting first; nothing for an unknown key.

    Example:
        >>> empty_rows("ce")[0].pushes["empty_batch"]
        (1.0, 1.0)
    """
    rows = json.loads(_text("empties.json")).get(key, ())
    return tuple(_row(row) for row in rows)


def _row(row: dict[str, Any]) -> EmptyRow:
    pushes = {name: tuple(values) for name, values in row["pushes"].items()}
    return EmptyRow(row["setting"], tuple(row["values"]), pushes)


def _read(name: str) -> Family:
    content = tomllib.loads(_text(name))
    head = {field: content.pop(field) for field in ("family", "about")}
    return Family(head["family"], head["about"], {key: _notes(table) for key, table in content.items()})


def _notes(table: dict[str, Any]) -> LossNotes:
    values: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in table.items()
    }
    return LossNotes(**values)


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
