"""Comparisons whose questions were written down before they ran: what is kept and shown of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .markdown import bullets, interval, listed, table
from .questions import MEASURES, answers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnunet_losses.compare.statistics import Pair

    from .questions import Question
    from .records import Record

COLUMNS = {
    "dice": "Dice",
    "nsd": "NSD",
    "lesion_f1": "lesion F1",
    "lesion_sensitivity": "lesion sensitivity",
    "specificity": "left empty",
    "false_volume": "false pixels",
    "calibration_error": "calibration error",
}
EVERY = (
    "Means over test images and trainings, with 95 % intervals that resample both; of images left empty: "
    "exact. Dice, NSD and the lesions: of images with a lesion. False pixels: of false lesions, per image "
    "without."
)
ANSWERS = (
    "Differences are paired by image. Shown: the Wilcoxon test says so (5 %, corrected after Holm for the "
    "questions of the comparison), and the interval over images and trainings does not hold 0 (95 % for all "
    "its questions together; where each loss has one training, over images alone)."
)
SMALL = 0.001  # p values below it are not told apart


def recorded(folder: Path, asked: Sequence[Question]) -> Record:
    """Answer the questions to a comparison, and keep the figures of its losses."""
    from nnunet_losses.compare.outcomes import collect
    from nnunet_losses.compare.run import report
    from nnunet_losses.compare.study import read_study

    report(folder)  # by today's statistics
    comparison = collect(folder, read_study(folder))
    results = json.loads((folder / "report" / "results.json").read_text("utf-8"))
    kept = ("settings", "label", "cases_with_label", "cases_without", "failures", "ranking")
    losses = {
        loss: {
            "trainings": len(one["trainings"]),
            "by_size": one["by_size"],
            **{key: one["figures"][key] for key in COLUMNS},
        }
        for loss, one in results["losses"].items()
    }
    found = [answer(question, pair) for question, pair in answers(asked, comparison)]
    small = comparison.size_edges()[1]
    return {**{key: results[key] for key in kept}, "small": small, "losses": losses, "answers": found}


def answer(question: Question, pair: Pair | None) -> Record:
    """Record what came out; None: a training of one side failed."""
    asked = {"words": question.words, "losses": question.losses, "measure": MEASURES[question.measure][0]}
    if pair is None:
        return {**asked, "verdict": "not tested, a training failed"}
    one = pair.difference
    difference = {"value": one.value, "low": one.low, "high": one.high, "n": one.n}
    return {**asked, "verdict": verdict(question, pair), "difference": difference, "p_holm": pair.p_holm}


def verdict(question: Question, pair: Pair) -> str:
    """Say whether what was expected is shown."""
    if not pair.shown:
        return "not shown"
    return "shown" if pair.difference.value * question.expected > 0 else "the opposite is shown"


def figures(found: Record) -> list[str]:
    """Paragraphs of the answers, of every loss, and of what failed."""
    return [answered(found), _figures(found), _ranks(found), _failed(found)]


def what(found: Record, *, cases: str = "images", unit: str = "pixels", scale: float = 1.0) -> str:
    """Say what was run; sizes of lesions are multiplied by ``scale`` to have that unit."""
    settings, trainings = found["settings"], [one["trainings"] for one in found["losses"].values()]
    return (
        f"{sum(trainings)} trainings ({max(trainings)} of each loss) of {settings['epochs']} epochs with "
        f"{settings['iterations']} batches of {settings['network']['batch']}; judged on "
        f"{found['cases_with_label']} {cases} with a lesion and {found['cases_without']} without. The "
        f"smallest fifth of the lesions has less than {found['small'] * scale:.0f} {unit}."
    )


def answered(found: Record) -> str:
    """Table of the questions and their answers."""
    rows = [
        (one["words"], one["losses"], one["measure"], *_difference(one), one["verdict"])
        for one in found["answers"]
    ]
    return table(("expected", "first against second", "measure", "difference", "p", "answer"), rows)


def _difference(one: Record) -> tuple[str, str]:
    if "difference" not in one:
        return "–", "–"
    value, low, high = (f"{one['difference'][key]:+.3f}" for key in ("value", "low", "high"))
    p = f"{one['p_holm']:.3f}" if one["p_holm"] >= SMALL else f"< {SMALL}"
    return f"{value} [{low}, {high}]", p


def _figures(found: Record) -> str:
    ordered = sorted(found["losses"].items(), key=lambda item: -(item[1]["dice"]["value"] or 0.0))
    known = [key for key in COLUMNS if any(one[key]["value"] is not None for _, one in ordered)]
    rows = [(f"`{loss}`", *(interval(one[key]) for key in known)) for loss, one in ordered]
    return table(("loss", *(COLUMNS[key] for key in known)), rows)


def _ranks(found: Record) -> str:
    ranking = found["ranking"]
    ranks = listed(f"`{loss}` {rank:.2f}" for loss, rank in ranking["mean_ranks"].items())
    groups = [" ".join(f"`{loss}`" for loss in group) for group in ranking["groups"]]
    alike = f" Neighbours among which no pair can be told apart: {'; '.join(groups)}." if groups else ""
    return f"Mean rank by Dice, image by image (1 is best): {ranks}.{alike}"


def _failed(found: Record) -> str:
    lines = [f"`{one['loss']}`, seed {one['seed']}: {one['reason']}" for one in found["failures"]]
    return f"Failed:\n\n{bullets(lines)}" if lines else "No training failed."
