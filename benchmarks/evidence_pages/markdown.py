"""Pieces of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; a head may be empty."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(lines: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {line}" for line in lines)


def listed(values: Iterable[object]) -> str:
    """Write values in a row."""
    return ", ".join(map(str, values))


def interval(figure: dict[str, Any]) -> str:
    """Write a figure with its interval; a dash where there is none."""
    if figure["value"] is None:
        return "–"
    digits = 3 if abs(figure["value"]) < 10 else 0
    value, low, high = (f"{figure[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def between(text: str, name: str, lines: Sequence[str]) -> str:
    """Put lines between the marks of that name.

    Example:
        >>> between("a <!-- x: begin -->old<!-- x: end --> b", "x", ["new"]).splitlines()
        ['a <!-- x: begin -->', 'new', '<!-- x: end --> b']
    """
    begin, end = (f"<!-- {name}: {which} -->" for which in ("begin", "end"))
    before, rest = text.split(begin)
    return "\n".join([before + begin, *lines, end]) + rest.split(end)[1]
