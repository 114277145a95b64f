"""Asks MONAI and panoptica about the edge cases, records what they say, and writes docs/metrics.md's table.

python -m benchmarks.metric_peers --panoptica ENVIRONMENT/bin/python
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .differences import RECORD, record
from .table import written_into

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"


def asked(python: str, library: str) -> dict[str, Any]:
    """Ask a library in the environment that has it."""
    module = f"benchmarks.metric_peers.{library}_values"
    ended = subprocess.run([python, "-m", module], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--panoptica", help="python of an environment with panoptica; default: only the table"
    )
    given = parser.parse_args()
    if given.panoptica:
        said = {"monai": asked(sys.executable, "monai"), "panoptica": asked(given.panoptica, "panoptica")}
        RECORD.write_text(json.dumps(said, indent=1) + "\n", "utf-8")
    PAGE.write_text(written_into(PAGE.read_text("utf-8"), record()), "utf-8")


if __name__ == "__main__":
    main()
