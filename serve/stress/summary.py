"""What many trials say together: of each damage, how often it was noticed, and what it did to the masks."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from .suite import CORRUPTIONS
from .trials import Finding, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HARMFUL = 0.9  # Dice with the undamaged image's mask below which a damage counts as harmful


class Kind(StrEnum):
    """What a user should think of a damage."""

    NOTICED = "noticed"  # in every case
    SOMETIMES = "sometimes"
    HARMLESS = "harmless"  # never noticed, and the masks stay as they were
    DANGEROUS = "dangerous"  # never noticed, and the masks change
    UNKNOWN = "unknown"  # never noticed, and no mask is right or wrong


@dataclass(frozen=True)
class Cell:
    """All cases with one damage in one strength.

    Attributes:
        cases: how many.
        noticed: how many of them the bundle noticed.
        agreement: median Dice with the undamaged images' masks; None where there is none.
        in_principle: why it may be impossible to see; None where it should be seen.
    """

    corruption: str
    severity: int
    cases: int
    noticed: int
    agreement: float | None
    in_principle: str | None

    @property
    def kind(self) -> Kind:
        """What to think of it."""
        if self.noticed == self.cases:
            return Kind.NOTICED
        if self.noticed:
            return Kind.SOMETIMES
        if self.agreement is None:
            return Kind.UNKNOWN
        return Kind.HARMLESS if self.agreement >= HARMFUL else Kind.DANGEROUS


@dataclass(frozen=True)
class Summary:
    """The whole run.

    Attributes:
        model: name of the bundle's model.
        is_calibrated: without a calibration the contract alone can notice something.
        n_calibration: cases that it was calibrated with.
        trials: everything.
        planned: cases that were to be tried; fewer were where the run was stopped.
    """

    model: str
    is_calibrated: bool
    n_calibration: int
    trials: tuple[Trial, ...]
    planned: int

    @property
    def usual(self) -> tuple[Trial, ...]:
        """Images as they are."""
        return tuple(trial for trial in self.trials if trial.corruption is None)

    def cells(self) -> list[Cell]:
        """Every damage and strength that was tried, in the suite's order."""
        groups: dict[tuple[str, int], list[Trial]] = {}
        for trial in self.trials:
            if trial.corruption is not None:
                groups.setdefault((trial.corruption, trial.severity), []).append(trial)
        order = list(CORRUPTIONS)
        return [
            _cell(*key, groups[key]) for key in sorted(groups, key=lambda key: (order.index(key[0]), key[1]))
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {
            "model": self.model,
            "calibrated": self.is_calibrated,
            "n_calibration": self.n_calibration,
            "cases": len(self.usual),
            "false_alarms": sum(trial.finding.is_noticed for trial in self.usual),
            "cells": [{**asdict(cell), "kind": cell.kind.value} for cell in self.cells()],
            "trials": [asdict(trial) for trial in self.trials],
        }

    def write(self, folder: Path) -> None:
        """Write ``stress.json`` and ``stress.csv``, one line for each trial."""
        (folder / "stress.json").write_text(
            json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        with (folder / "stress.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(Trial.__dataclass_fields__), lineterminator="\n")
            writer.writeheader()
            writer.writerows(asdict(trial) for trial in self.trials)


def _cell(key: str, severity: int, trials: Sequence[Trial]) -> Cell:
    agreements = [trial.agreement for trial in trials if trial.agreement is not None]
    return Cell(
        corruption=key,
        severity=severity,
        cases=len(trials),
        noticed=sum(trial.finding.is_noticed for trial in trials),
        agreement=float(np.median(agreements)) if agreements else None,
        in_principle=CORRUPTIONS[key].undetectable,
    )


def sentences(summary: Summary) -> list[str]:
    """The result in plain words."""
    cells, usual = summary.cells(), summary.usual
    alarms = sum(trial.finding.is_noticed for trial in usual)
    count = {kind: sum(cell.kind is kind for cell in cells) for kind in Kind}
    never = len(cells) - count[Kind.NOTICED] - count[Kind.SOMETIMES]
    first = (
        f"{len(usual)} of your images {'was' if len(usual) == 1 else 'were'} damaged in {len(cells)} ways. "
        f"{count[Kind.NOTICED]} of them were noticed every time, {count[Kind.SOMETIMES]} sometimes, "
        f"{never} never."
    )
    told = [first]
    if count[Kind.DANGEROUS]:
        names = dict.fromkeys(
            CORRUPTIONS[cell.corruption].title for cell in cells if cell.kind is Kind.DANGEROUS
        )
        told.append(
            f"Beware of {count[Kind.DANGEROUS]}: they went unnoticed and changed the masks (Dice below "
            f"{HARMFUL:g}): {'; '.join(names)}."
        )
    if count[Kind.HARMLESS]:
        told.append(
            f"{count[Kind.HARMLESS]} went unnoticed and did no harm: the masks stayed nearly as they were."
        )
    told.append(_usual_sentence(alarms, len(usual), summary))
    failed = sum(trial.finding is Finding.FAILED for trial in summary.trials)
    if failed:
        told.append(f"{failed} images made the engine fail: no mask, and no statement about the image.")
    return told


def _usual_sentence(alarms: int, usual: int, summary: Summary) -> str:
    if not summary.is_calibrated:
        return (
            "This bundle is not calibrated: only its contract can notice anything, such as blank images and "
            "wrong channels. nnunet-losses calibrate teaches it what usual images look like."
        )
    return (
        f"Undamaged, {alarms} of {usual} {'image was' if usual == 1 else 'images were'} called strange. The "
        f"calibration knows {summary.n_calibration} cases; if yours come from another place, recalibrate."
    )
