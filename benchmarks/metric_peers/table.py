"""The cases as the table of docs/metrics.md."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .cases import CASES, METRICS, EdgeCase
from .differences import LIBRARIES, REASONS, comparable, explained, ours, same, theirs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnunet_losses.serve.metrics import LabelResult

BEGIN, END = "<!-- edge cases: begin -->", "<!-- edge cases: end -->"
_HEADINGS = ("Dice", "NSD", "HD95", "lesion sens.", "lesion F1", "PQ")


def written_into(page: str, recorded: dict[str, Any]) -> str:
    """Put the table where the page's marks are.

    Raises:
        ValueError: it has no such marks.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page needs the marks {BEGIN} and {END}, each once")
    before, rest = page.split(BEGIN)
    return before + block(recorded) + rest.split(END)[1]


def block(recorded: dict[str, Any]) -> str:
    """Write marks, table and reasons."""
    versions = ", ".join(f"{title} {recorded[name]['version']}" for name, title in LIBRARIES.items())
    lines = [BEGIN, f"Recorded with {versions}.", "", *_table(recorded), "", *_reasons(), END]
    return "\n".join(lines)


def _table(recorded: dict[str, Any]) -> Iterator[str]:
    yield f"| case | {' | '.join(_HEADINGS)} |"
    yield f"| --- |{' --- |' * len(_HEADINGS)}"
    for case in CASES:
        result = ours(case)
        cells = [_cell(recorded, case, result, metric) for metric in METRICS]
        yield f"| {case.name} | {' | '.join(cells)} |"


def _cell(recorded: dict[str, Any], case: EdgeCase, result: LabelResult, metric: str) -> str:
    own = case.hand[METRICS.index(metric)]
    parts = [_number(own)]
    for library, title in LIBRARIES.items():
        value = theirs(recorded, library, case, metric)
        if value is None or same(value, own):
            continue
        number = explained().get((library, case.name, metric))
        by_rule = same(value, comparable(result, library, metric))
        parts.append(f"{title} **{_number(value)}** ({'e' if by_rule else number})")
    return "; ".join(parts)


def _reasons() -> Iterator[str]:
    yield "- (e) It is its rule for empty masks, which the convention of its name follows."
    for number, reason in enumerate(REASONS, 1):
        yield f"- ({number}) {LIBRARIES[reason.library]} {reason.words}."


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".")
