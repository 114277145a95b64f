"""What is caught? Ours beside four baselines.

    python -m benchmarks.detection.phantoms --work WORK --only volume
    python -m benchmarks.detection.looking volume BUNDLE --data ../shared/data --work WORK --no-mirror
    python -m benchmarks.detection volume --work WORK --json benchmarks/results/detection_volume.json

The hippocampi take what was chosen with the phantoms: ``--chosen benchmarks/results/detection_volume.json``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nnunet_losses.serve.stress.suite import CORRUPTIONS, Family

from .baselines import BASELINES, grid
from .designs import DESIGNS, SHIPPED
from .evaluation import Data, Scored, best, gate, score_baseline, score_design, tune, verdicts
from .looking import looked
from .measures import auroc
from .protocol import SIZES


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=SIZES)
    parser.add_argument("--work", type=Path, required=True, help="folder with what was looked at")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--chosen", type=Path, help="result of another data set, whose choices are taken")
    given = parser.parse_args()
    data = Data.of(given.dataset, looked(given.dataset, given.work))
    choices = tune(data) if given.chosen is None else json.loads(given.chosen.read_text())["tuning"]
    result = evaluate(data, choices)
    given.json.write_text(json.dumps(result, indent=1) + "\n")
    for name, row in result["methods"].items():
        print(f"{name:28} mean FPR95 {row['mean_fpr95']:.3f}  AUROC of far {row['far_auroc']:.4f}")
    print(result["gate"], {key: value for key, value in result["verdicts"].items() if key != "caught"})


def evaluate(data: Data, choices: dict[str, Any]) -> dict[str, Any]:
    """All figures of one data set."""
    methods, settings = _methods(data, choices)
    counted = data.counted(data.cells)
    return {
        "dataset": data.name,
        "cases": {role: len(ones) for role, ones in data.by_role.items()},
        "cells": [
            {"corruption": cell.corruption, "severity": cell.severity, "cases": len(data.cells[cell]),
             "left_out": data.rule(cell),
             **{name: scored.cell(cell) for name, scored in methods.items() if cell in scored.cells}}
            for cell in sorted(data.cells)
        ],
        "methods": {
            name: {"setting": settings[name], "mean_fpr95": scored.mean_fpr(counted),
                   "far_auroc": auroc(scored.usual, scored.far)}
            for name, scored in methods.items()
        },
        "leave_one_family_out": _one_out(data, choices, counted),
        "gate": gate(data),
        "verdicts": verdicts(data),
        "tuning": choices,
    }  # fmt: skip


def _stages(data: Data) -> int:
    seen = data.by_role["fit"][0].seen
    return 0 if seen is None else len(seen.observation.features or ())


def _methods(data: Data, choices: dict[str, Any]) -> tuple[dict[str, Scored], dict[str, str]]:
    """Ours; of each baseline the paper's setting and the chosen one; our other designs."""
    scored = {"ours": score_design(SHIPPED, data)}
    settings = {"ours": ", ".join(SHIPPED.scores)}
    for name in BASELINES:
        for how, index in (("paper", 0), ("tuned", best(choices[name]))):
            setting = grid(name, _stages(data))[index]
            scored[f"{name}, {how}"] = score_baseline(setting, data)
            settings[f"{name}, {how}"] = str(setting)
    for design in DESIGNS[1:]:
        scored[f"ours, {design.name}"] = score_design(design, data)
        settings[f"ours, {design.name}"] = ", ".join(design.scores)
    return scored, settings


def _one_out(data: Data, choices: dict[str, Any], counted: list[Any]) -> dict[str, Any]:
    """Each family judged with the design that was chosen without it."""
    result: dict[str, Any] = {}
    for family in Family:
        cells = [cell for cell in counted if CORRUPTIONS[cell.corruption].family is family]
        if not cells:
            continue
        row: dict[str, Any] = {"cells": len(cells)}
        design = DESIGNS[best(choices["ours"], without=family)]
        row["ours"] = {"setting": design.name, "mean_fpr95": score_design(design, data).mean_fpr(cells)}
        for name in BASELINES:
            setting = grid(name, _stages(data))[best(choices[name], without=family)]
            figure = score_baseline(setting, data).mean_fpr(cells)
            row[name] = {"setting": str(setting), "mean_fpr95": figure}
        result[family.value] = row
    return result


if __name__ == "__main__":
    main()
