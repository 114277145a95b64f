"""Killed at any moment and started again: the same report as without."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from nnunet_losses.compare.results import read_failure, read_result
from nnunet_losses.compare.study import read_study

from .conftest import command, environment, run
from .holding import Moment, holding

CELL = "cells/dice_hausdorff__fold_0__seed_0"
OTHER = "cells/dice_ce__fold_0__seed_0"


def outcome(output: Path) -> tuple[dict[str, Any], list[Any]]:
    """The report and the results of the cells without what was measured by the clock."""
    report = json.loads((output / "report" / "results.json").read_text())
    for loss in report["losses"].values():
        del loss["seconds_per_epoch"], loss["peak_memory"]
    results = [read_result(cell.folder(output)) for cell in read_study(output).cells]
    return report, [[one and one.cell, one and one.curves, one and one.sets] for one in results]


def told(condition: str) -> Moment:
    """When the cell tells how far it is."""
    words = ("nnunet_losses.compare.worker", Path(CELL).name)
    return Moment(words, "nnunet_losses.compare.results.write_progress", condition)


def after_epoch(number: int) -> Moment:
    return told(f"lambda folder, stage, epoch=0, **_: epoch >= {number}")


PREPARING = Moment(("compare",), "nnunet_losses.trainers.files.write_atomically", "lambda *_: True")
BETWEEN_TWO_SETS = told(
    "lambda folder, stage, **_: stage.startswith('predicting') and (folder / 'masks').is_dir()"
)


def kill_at(moment: Moment, nnunet: Path, output: Path, folder: Path) -> None:
    """Start the command and kill it, and nothing but it, while it or its cell waits at a moment."""
    folder.mkdir()
    held, mark = holding(folder, moment)
    with subprocess.Popen(
        command(output, "--slots", "2"),
        env={**os.environ, **environment(nnunet), **held},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while not mark.exists():
                assert process.poll() is None, f"the command ended before {moment}"
                time.sleep(0.02)
        finally:
            process.kill()


def test_killed_again_and_again_gives_the_same_report(nnunet: Path, done: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    kill_at(PREPARING, nnunet, output, tmp_path / "0")
    # the other cell is done already: starting it, too, after every kill would only take time
    shutil.copytree(done / OTHER, output / OTHER, dirs_exist_ok=True)
    for number, moment in enumerate((after_epoch(1), after_epoch(2), BETWEEN_TWO_SETS), 1):
        kill_at(moment, nnunet, output, tmp_path / str(number))
    assert not (output / CELL / "result.json").exists()
    ended = run(nnunet, output, "--slots", "2")
    assert ended.returncode == 0, ended.stderr
    assert outcome(output) == outcome(done)


def test_a_finished_comparison_trains_nothing_again(nnunet: Path, done: Path, tmp_path: Path) -> None:
    output = shutil.copytree(done, tmp_path / "out")
    log, result = output / CELL / "log.txt", output / CELL / "result.json"
    before = log.stat().st_size, result.stat().st_mtime_ns
    assert run(nnunet, output).returncode == 0
    assert before == (log.stat().st_size, result.stat().st_mtime_ns)
    assert outcome(output) == outcome(done)


def test_a_failed_cell_says_why_and_stops_no_other(nnunet: Path, done: Path, tmp_path: Path) -> None:
    output = shutil.copytree(done, tmp_path / "out")
    (output / CELL / "result.json").unlink()
    shutil.rmtree(output / CELL / "nnunet")
    (output / CELL / "nnunet").write_text("a file, where nnU-Net wants a folder")
    ended = run(nnunet, output)
    assert ended.returncode == 1
    failure = read_failure(output / CELL)
    assert failure is not None
    assert "nnunet" in failure.reason
    assert "dice_hausdorff__fold_0__seed_0 failed" in ended.stderr
    (only,) = json.loads((output / "report" / "results.json").read_text())["failures"]
    assert only["reason"] == failure.reason
    assert "Failed trainings" in (output / "report" / "index.html").read_text()


def test_other_settings_in_the_same_folder_are_refused(nnunet: Path, prepared: Path) -> None:
    ended = run(nnunet, prepared, "--epochs", "4")
    assert ended.returncode == 2
    assert "epochs was 3, now 4" in ended.stderr
