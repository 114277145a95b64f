"""The page of the comparison on lesions of multiple sclerosis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .asked import ANSWERS, answered, figures, recorded, what
from .markdown import table
from .questions import MS_LESIONS
from .records import EVIDENCE, RESULTS, Record, read_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

NAME = "ms_lesions"
RECORD = RESULTS / f"{NAME}.json"
PAGE = EVIDENCE / f"{NAME}.md"
PROTOCOL = EVIDENCE / f"{NAME}_protocol.md"
HEAD = (
    "Written by `python -m benchmarks.evidence_pages` from `benchmarks/results/ms_lesions.json`; the "
    "[protocol](ms_lesions_protocol.md), with the questions and the commands, was fixed before the run. "
    "**Two patients, each in training and in test: nothing follows about a third.** An image is a slab of "
    "five slices; neighbouring slabs are alike, so intervals are too short."
)
EVERY = "Means over test slabs and trainings, with 95 % intervals that resample both."


def read() -> Record | None:
    """Read the figures; None before it ran."""
    return read_record(RECORD)


def keep(folder: Path, hardware: str) -> None:
    """Write the record of the finished comparison."""
    write_record(RECORD, {"hardware": hardware, **recorded(folder, MS_LESIONS)})


def page(record: Record) -> str:
    """Everything that came out."""
    parts = [
        "# Component and boundary losses on lesions of multiple sclerosis",
        HEAD,
        f"Hardware: {record['hardware']}.",
        said(record),
        ANSWERS,
        EVERY,
        *figures(record),
        "## Found, by size",
        found_by_size(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def said(record: Record) -> str:
    """Say what was run."""
    return what(record, cases="slabs", unit="mm³", scale=1000)


def found_by_size(record: Record) -> str:
    """Table of the share of lesions that each loss finds, by their volume."""
    by_size = {loss: one["by_size"] for loss, one in record["losses"].items()}
    first = next(iter(by_size.values()))
    heads = [f"{1000 * low:.0f} to {1000 * high:.0f} mm³" for low, high, _ in first]
    rows = [
        (f"`{loss}`", *(f"{share['value']:.2f}" for _, _, share in sizes)) for loss, sizes in by_size.items()
    ]
    return table(("loss", *heads), rows)


def short(record: Record) -> list[str]:
    """Give the lines of the list of claims."""
    return [answered(record), "", said(record)]
