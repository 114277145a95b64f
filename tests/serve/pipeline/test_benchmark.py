"""The benchmark's small case: it runs, both sides agree, and the report holds what it prints."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks import pipeline

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_small_case_shows_the_same_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    pipeline.main(["--case", "small", "--repeat", "1", "--threads", "1", "--no-peaks", "--json", str(report)])
    rows = {row["stage"]: row for row in json.loads(report.read_text())["rows"]}
    assert list(rows) == [*pipeline.STAGES, "without stitching", "with stitching"]
    assert rows["write"]["difference"] == "same bytes"
    assert rows["stitch"]["difference"] == "max 0.0e+00"
    assert rows["labels"]["difference"].startswith("0 of ")
    assert float(rows["preprocess"]["difference"].removeprefix("max ")) <= 1e-5
    assert all(row["ours"] > 0 and row["nnunet"] > 0 for row in rows.values())
    assert "with stitching" in capsys.readouterr().out
