"""The report's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.compare.study import Study


def write_report(output: Path, study: Study, *, note: str = "") -> Path:
    """Write the report."""
    return output / "report" / "index.html"
