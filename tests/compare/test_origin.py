"""Cells that other code has made are told apart in the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_losses.compare import origin
from nnunet_losses.compare.origin import ORIGINS_FILE, add_origin, different_origins, read_origins

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_losses_trainers_and_metrics_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = {file.name for file in origin._sources()}
    assert {"dice.py", "base.py", "training.py", "overlap.py"} <= names
    assert not {"slurm.py", "page.py", "bundle.py"} & names
    before = origin.origin("cpu")
    changed = tmp_path / "dice.py"
    changed.write_text("other")
    monkeypatch.setattr(origin, "_sources", lambda: iter([changed]))
    assert origin.origin("cpu") != before


def test_only_different_ones_are_told(tmp_path: Path) -> None:
    cells = [tmp_path / name for name in ("a", "b", "old")]
    for cell in cells:
        cell.mkdir()
    for cell in cells[:2]:
        add_origin(cell, "code 1")
        add_origin(cell, "code 1")
    assert read_origins(cells[0]) == ["code 1"]
    assert not different_origins(cells)
    add_origin(cells[1], "code 2")
    assert "2 different versions" in different_origins(cells)
    assert "code 1; code 2" in different_origins(cells)
    (cells[1] / ORIGINS_FILE).write_text('["code')
    assert not different_origins(cells)
