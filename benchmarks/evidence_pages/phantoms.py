"""The page of the comparisons on phantoms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import evidence

from .asked import ANSWERS, EVERY, answered, figures, recorded, what
from .questions import QUESTIONS

if TYPE_CHECKING:
    from .asked import Record

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "benchmarks" / "results" / "phantoms.json"
PAGE = ROOT / "docs" / "evidence" / "phantoms.md"
HEAD = (
    "Written by `python -m benchmarks.evidence_pages` from `benchmarks/results/phantoms.json`; the "
    "[protocol](phantoms_protocol.md), with the questions, was fixed before the run. **Phantoms: what these "
    "losses do here, in minutes and with a tiny network, and nothing about patients.**"
)
NOT_RUN = "Not run yet."


def read() -> Record | None:
    """Read the figures; None before it ran."""
    return json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else None


def keep(folder: Path, hardware: str) -> None:
    """Write the record of the comparisons that have ended."""
    ended = [claim.name for claim in evidence.CLAIMS if (folder / claim.name / evidence.TIMES).is_file()]
    claims = {name: recorded(folder / name, QUESTIONS[name]) for name in ended}
    RECORD.write_text(json.dumps({"hardware": hardware, "claims": claims}, indent=1) + "\n", "utf-8")


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
