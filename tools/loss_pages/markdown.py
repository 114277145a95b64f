"""Small pieces of Markdown: numbers, formulas, table cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

_WORD = re.compile(r"(\\text\{[^}]*\}|\\[A-Za-z]+)|([A-Za-z]{2,})")
_NAME = re.compile(r"`[^`]*`|\b[a-z]+=[\w\"]+|\b[a-z]+(?:_[a-z]+)+\b(?:=\w+)?")
_EXPONENTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def typeset(formula: str) -> str:
    r"""Set words upright and keep sentences of a formula apart, as LaTeX.

    Example:
        >>> print(typeset(r"\frac{2\,TP}{P + G}, a = \max(0, epoch)"))
        \frac{2\,\mathrm{TP}}{P + G},\quad a = \max(0, \mathrm{epoch})
    """
    upright = _WORD.sub(lambda match: match[1] or rf"\mathrm{{{match[2]}}}", formula)
    pieces, depth = [], 0
    for piece in re.split(r"((?<!\\), |[({\[]|[)}\]])", upright):
        depth += (piece in tuple("({[")) - (piece in tuple(")}]"))
        pieces.append(r",\quad " if piece == ", " and depth == 0 else piece)
    return "".join(pieces)


def number(value: float) -> str:
    """Write a number with two or three digits, small ones as a power of ten.

    Example:
        >>> number(0.719), number(6.13e-05), number(-1.2e-6), number(2580.0), number(0.0)
        ('0.72', '6·10⁻⁵', '−1·10⁻⁶', '2600', '0')
    """
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size == 0:
        return "0"
    if size < 1e-3:
        digit, exponent = f"{size:.0e}".split("e")
        return f"{sign}{digit}·10{str(int(exponent)).translate(_EXPONENTS)}"
    return sign + f"{float(f'{size:.2g}'):.10g}"


def cell(text: str) -> str:
    """Make a text fit for a cell of a table."""
    return text.replace("|", r"\|").replace("\n", " ")


def linked(text: str, keys: Collection[str]) -> str:
    """Set names of parameters as code; make links of names of losses that have an underscore.

    Example:
        >>> linked("Take phi=BI, `w_ce` or dice_ce.", ["dice_ce"])
        'Take `phi=BI`, `w_ce` or [`dice_ce`](dice_ce.md).'
    """

    def link(match: re.Match[str]) -> str:
        name = match[0]
        if name.startswith("`"):
            return name
        return f"[`{name}`]({name}.md)" if name in keys else f"`{name}`"

    return _NAME.sub(link, text)


def short_reference(reference: str) -> str:
    """Name the first author and the year.

    Example:
        >>> short_reference("Salehi, Erdogmus, Gholipour, Tversky loss, MLMI 2017")
        'Salehi 2017'
        >>> short_reference("Kofler et al., blob loss: instance imbalance aware loss functions, IPMI 2023")
        'Kofler 2023'
    """
    first = reference.split(";", maxsplit=1)[0]
    author = re.split(r",| et al", first)[0]
    years = re.findall(r"\b(?:19|20)\d\d\b", first)
    return f"{author} {years[-1]}" if years else author
