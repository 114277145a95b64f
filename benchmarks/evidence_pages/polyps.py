"""The pages of the two comparisons on polyps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .markdown import bullets, interval, listed, table
from .records import EVIDENCE, RESULTS, ROOT, Record, read_record, write_record

if TYPE_CHECKING:
    from pathlib import Path

PICTURES = ROOT / "docs" / "pictures"
WANTED, DEFAULT = 0.6, "dice_ce"  # of the protocol


@dataclass(frozen=True)
class PolypRun:
    """One of the runs of the protocol.

    Attributes:
        name: of its record, page and pictures.
        title: of its page.
        command: where it is written.
    """

    name: str
    title: str
    command: str

    @property
    def record(self) -> Path:
        """File of its figures."""
        return RESULTS / f"{self.name}.json"

    @property
    def page(self) -> Path:
        """File that people read."""
        return EVIDENCE / f"{self.name}.md"

    def read(self) -> Record | None:
        """Read its figures; None before it ran."""
        return read_record(self.record)


RUNS = (
    PolypRun(
        "polyps",
        "Cross-entropy, Dice and their combinations on polyps",
        "the two of the [protocol](polyps_protocol.md)",
    ),
    PolypRun(
        "polyps_long",
        "Cross-entropy, Dice and their combinations on polyps, twice as long",
        "the first, then the last of the [protocol](polyps_protocol.md)",
    ),
)
COLUMNS = {
    "dice": "Dice",
    "dice_all": "Dice, all images",
    "nsd": "NSD",
    "lesion_f1": "lesion F1",
    "case_sensitivity": "polyps answered",
    "false_volume": "false pixels",
    "presence_auroc": "presence AUROC",
    "calibration_error": "calibration error",
    "ood_auroc": "OoD AUROC",
}
CLAIMED = (
    ("The sum segments polyps better than cross-entropy", "ce_dice", "ce"),
    ("The sum segments polyps better than Dice alone", "ce_dice", "dice"),
    ("The linear schedule segments better than cross-entropy", "ce_to_dice_linear", "ce"),
)

HEAD = (
    "Written by `python -m benchmarks.evidence_pages` from `benchmarks/results/{}.json`; the "
    "[protocol](polyps_protocol.md), with the commands, was fixed before the run."
)
EVERY = (
    "Means over test images and trainings, with 95 % intervals that resample both; of polyps answered: "
    "exact. Dice is of the images with a polyp, a missed one counts 0; of all images, one without counts "
    "1 when left empty and 0 else. False pixels: of whole false lesions, per image without a polyp."
)
EMPTY = (
    "Dice of the images with a polyp; those without one that were left empty, with exact (Clopper-Pearson) "
    "95 % intervals: the masks as they are, and after the presence threshold that the training's own "
    "validation images gave."
)
DOUBTS = (
    "Small pictures, a small network, a short training: nothing of the paper is reproduced at its own scale.",
    "The images without a polyp come from another source: they can be painted for reasons beside the loss.",
)


def keep(run: PolypRun, folder: Path, hardware: str) -> None:
    """Write the record of a finished comparison, and its pictures."""
    from nnunet_losses.compare.outcomes import collect
    from nnunet_losses.compare.report import charts
    from nnunet_losses.compare.run import report
    from nnunet_losses.compare.study import read_study

    report(folder)  # by today's statistics
    study = read_study(folder)
    comparison = collect(folder, study)
    results = json.loads((folder / "report" / "results.json").read_text("utf-8"))
    record = {"hardware": hardware, "folds": study.folds, "seeds": study.seeds, **results}
    write_record(run.record, record)
    for name, drawn in (("dice", charts.forest(comparison)), ("silence", charts.pareto(comparison))):
        white = drawn.replace("<svg ", '<svg style="background:#fff" ', 1)  # also where pages are dark
        (PICTURES / f"{run.name}_{name}.svg").write_text(white, "utf-8")


def page(run: PolypRun, record: Record) -> str:
    """Everything that came out."""
    parts = [
        f"# {run.title}",
        HEAD.format(run.name),
        f"**{record['recommendation']['headline']}** {record['recommendation']['advice']}",
        bullets(record["recommendation"]["reasons"]),
        f"![Dice of every loss](../pictures/{run.name}_dice.svg)",
        f"![Dice against lesion-free images left empty](../pictures/{run.name}_silence.svg)",
        "## What was run",
        _what(run, record),
        "## Was it long enough?",
        wanted(record),
        "## Every loss",
        EVERY,
        _figures(record),
        "## Every training, and the images without a polyp",
        EMPTY,
        _silent(record),
        "## The paper's claims",
        _claims(record),
        "## What speaks against it",
        bullets([*record["recommendation"]["doubts"], *DOUBTS]),
        _failures(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def wanted(record: Record) -> str:
    """Say whether the default loss reached what the protocol wanted."""
    trainings = record["losses"].get(DEFAULT, {}).get("trainings", [])
    if not trainings:
        return f"`{DEFAULT}` has no result: the {WANTED} of the protocol were not reached."
    sentences = []
    for key, where in (("validation_dice", "validation"), ("dice", "test")):
        values = [one[key] for one in trainings]
        mean = sum(values) / len(values)
        verdict = "reached" if mean >= WANTED else "**not** reached"
        by_seed = ", ".join(f"{one[key]:.3f} (seed {one['seed']})" for one in trainings)
        sentences.append(f"on the {where} images {by_seed}, mean {mean:.3f}: {verdict}")
    return f"The protocol wanted a Dice of {WANTED} for `{DEFAULT}`. It has {'; '.join(sentences)}."


def _what(run: PolypRun, record: Record) -> str:
    settings, network = record["settings"], record["settings"]["network"]
    count = sum(len(one["trainings"]) for one in record["losses"].values())
    trainings = (
        f"{count} with a result, of {len(record['losses'])} losses; seeds {listed(record['seeds'])}, "
        f"fold {listed(record['folds'])}"
    )
    images = f"{record['cases_with_label']} test images with a polyp, {record['cases_without']} without"
    length = f"{settings['epochs']} epochs of {settings['iterations']} batches of {network['batch']}"
    rows = (
        ("command", run.command),
        ("trainings", trainings),
        ("data", f"{images}; sources in the protocol"),
        ("network", f"{listed(network['features'])} features"),
        ("length", f"{length}, variant {settings['variant']}, last checkpoint"),
        ("hardware", record["hardware"]),
    )
    return table(("", ""), rows)


def _figures(record: Record) -> str:
    rows = [
        (f"`{loss}`", *(interval(one["figures"][name]) for name in COLUMNS)) for loss, one in _ordered(record)
    ]
    return table(("loss", *COLUMNS.values()), rows)


def _silent(record: Record) -> str:
    rows = [
        (f"`{loss}`", str(one["seed"]), f"{one['dice']:.3f}", f"{one['validation_dice']:.3f}",
         _count(one["left_empty"]), _count(one["left_empty_calibrated"]))
        for loss, found in _ordered(record)
        for one in found["trainings"]
    ]  # fmt: skip
    heads = ("loss", "seed", "Dice, test", "Dice, validation", "left empty", "after the threshold")
    return table(heads, rows)


def _claims(record: Record) -> str:
    lines = [f"{words}: {_difference(record, first, second)}." for words, first, second in CLAIMED]
    silent = {loss: one["figures"]["specificity"]["value"] for loss, one in record["losses"].items()}
    most = [loss for loss, value in silent.items() if value == max(silent.values())]
    lines.append(
        f"Cross-entropy stays silent where nothing is: most often silent {'is' if len(most) == 1 else 'are'} "
        f"{', '.join(f'`{loss}`' for loss in most)}, with {100 * max(silent.values()):.0f} % of "
        f"{record['cases_without']} images, mean over trainings (exact intervals above)."
    )
    return bullets(lines)


def _difference(record: Record, first: str, second: str) -> str:
    for pair in record["pairs"]:
        if {pair["first"], pair["second"]} == {first, second}:
            sign = 1 if pair["first"] == first else -1
            value, low, high = (sign * pair["difference"][name] for name in ("value", "low", "high"))
            low, high = sorted((low, high))
            test = f"p = {pair['p_holm']:.3f} (Wilcoxon, Holm over {len(record['pairs'])} pairs)"
            return (
                f"**{_verdict(pair['p_holm'], value, low, high)}**; difference in Dice {value:+.3f} "
                f"[{low:+.3f}, {high:+.3f}], {test}"
            )
    return "not tested, a training failed"


def _verdict(p: float, value: float, low: float, high: float) -> str:
    """Say what test and interval allow; the protocol pairs over images, which knows nothing of seeds."""
    if p >= 0.05:
        return "not shown"
    found = "shown" if value > 0 else "the opposite is shown"
    if low <= 0 <= high:
        return f"{found} for these trainings, and no further: the interval over images and trainings has 0"
    return found


def _failures(record: Record) -> str:
    if not record["failures"]:
        return "No training failed."
    rows = [(f"`{one['loss']}`", str(one["seed"]), one["reason"]) for one in record["failures"]]
    return "## Failed trainings\n\n" + table(("loss", "seed", "reason"), rows)


def short(record: Record) -> list[str]:
    names = {"dice": "Dice", "specificity": "left empty", "specificity_calibrated": "left empty, threshold"}
    rows = [
        (f"`{loss}`", *(interval(one["figures"][name]) for name in names)) for loss, one in _ordered(record)
    ]
    said = (
        f"Dice of {record['cases_with_label']} test images with a polyp, and share of the "
        f"{record['cases_without']} without one that were left empty, as they are and with the presence "
        "threshold (exact intervals of one training's number of images):"
    )
    opening = f"{record['recommendation']['headline']} {record['recommendation']['advice']} {wanted(record)}"
    return [opening, "", said, "", table(("loss", *names.values()), rows), "", _what_short(record)]


def _what_short(record: Record) -> str:
    settings = record["settings"]
    return (
        f"Seeds {listed(record['seeds'])}, fold {listed(record['folds'])}, {settings['epochs']} epochs of "
        f"{settings['iterations']} batches, {record['hardware']}; {len(record['failures'])} trainings failed."
    )


def _ordered(record: Record) -> list[tuple[str, Record]]:
    return sorted(record["losses"].items(), key=lambda item: -item[1]["figures"]["dice"]["value"])


def _count(share: Record) -> str:
    return (
        f"{round(share['value'] * share['n'])} of {share['n']} "
        f"[{100 * share['low']:.0f} %, {100 * share['high']:.0f} %]"
    )
