"""The page of the comparisons on phantoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import evidence

from .asked import ANSWERS, EVERY, answered, figures, recorded, what
from .questions import QUESTIONS
from .records import EVIDENCE, RESULTS, Record, read_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

RECORD = RESULTS / "phantoms.json"
PAGE = EVIDENCE / "phantoms.md"
HEAD = (
    "Written by `python -m benchmarks.evidence_pages` from `benchmarks/results/phantoms.json`; the "
    "[protocol](phantoms_protocol.md), with the questions, was fixed before the run. **Phantoms: what these "
    "losses do here, in minutes and with a tiny network, and nothing about patients.**"
)
NOT_RUN = "Not run yet."


def read() -> Record | None:
    """Read the figures; None before it ran."""
    return read_record(RECORD)


def keep(folder: Path, hardware: str) -> None:
    """Write the record of the comparisons that have ended."""
    ended = [claim.name for claim in evidence.CLAIMS if (folder / claim.name / evidence.TIMES).is_file()]
    claims = {name: recorded(folder / name, QUESTIONS[name]) for name in ended}
    write_record(RECORD, {"hardware": hardware, "claims": claims})


def page(record: Record) -> str:
    """Everything that came out."""
    parts = ["# The claims on phantoms", HEAD, f"Hardware: {record['hardware']}.", ANSWERS, EVERY]
    for claim in evidence.CLAIMS:
        found = record["claims"].get(claim.name)
        parts.append(f"## `{claim.name}`")
        parts += [NOT_RUN] if found is None else [f"{claim.title}. {what(found)}", *figures(found)]
    return "\n\n".join(part for part in parts if part) + "\n"


def short(claim: str, record: Record) -> list[str]:
    """Give the lines of the list of claims."""
    found = record["claims"].get(claim)
    return [NOT_RUN] if found is None else [answered(found), "", what(found)]
