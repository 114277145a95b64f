"""The page of the comparison on lesions of multiple sclerosis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from .asked import ANSWERS, answered, figures, recorded, what
from .markdown import table
from .questions import MS_LESIONS

if TYPE_CHECKING:
    from .asked import Record

NAME = "ms_lesions"
ROOT = Path(__file__).parents[2]
RECORD = ROOT / "benchmarks" / "results" / f"{NAME}.json"
PAGE = ROOT / "docs" / "evidence" / f"{NAME}.md"
PROTOCOL = ROOT / "docs" / "evidence" / f"{NAME}_protocol.md"
HEAD = (
    "Written by `python -m benchmarks.evidence_pages` from `benchmarks/results/ms_lesions.json`; the "
    "[protocol](ms_lesions_protocol.md), with the questions and the commands, was fixed before the run. "
    "**Two patients, each in training and in test: nothing follows about a third.** An image is a slab of "
    "five slices; neighbouring slabs are alike, so intervals are too short."
)
EVERY = "Means over test slabs and trainings, with 95 % intervals that resample both."


def read() -> Record | None:
    """Read the figures; None before it ran."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else None


def keep(folder: Path, hardware: str) -> None:
    """Write the record of the finished comparison."""
    sizes = json.loads((folder / "report" / "results.json").read_text("utf-8"))["losses"]
    by_size = {loss: one["by_size"] for loss, one in sizes.items()}
    record = {"hardware": hardware, **recorded(folder, MS_LESIONS), "by_size": by_size}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", "utf-8")


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
    first = next(iter(record["by_size"].values()))
    heads = [f"{1000 * low:.0f} to {1000 * high:.0f} mm³" for low, high, _ in first]
    rows = [
        (f"`{loss}`", *(f"{share['value']:.2f}" for _, _, share in sizes))
        for loss, sizes in record["by_size"].items()
    ]
    return table(("loss", *heads), rows)


def short(record: Record) -> list[str]:
    """Give the lines of the list of claims."""
    return [answered(record), "", said(record)]
