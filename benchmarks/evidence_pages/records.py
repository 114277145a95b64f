"""Where records of comparisons and the pages that are written from them lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
EVIDENCE = ROOT / "docs" / "evidence"
Record = dict[str, Any]


def read_record(file: Path) -> Record | None:
    """Read figures; None before they were made."""
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def write_record(file: Path, record: Record) -> None:
    """Keep figures as they are shown in a change: one a line."""
    file.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
