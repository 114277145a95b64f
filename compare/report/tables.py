"""The figures as tables: which there are, how they are called, and as CSV and JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.compare.outcomes import CONVENTION, WITH_EMPTIES
from nnunet_losses.compare.trainings import trainings
from nnunet_losses.serve.metrics.report import plain

from .charts import peak_memory, seconds_per_epoch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nnunet_losses.compare.outcomes import Comparison
    from nnunet_losses.compare.statistics import Pair, Ranking
    from nnunet_losses.compare.study import Study
    from nnunet_losses.compare.trainings import Training

    from .words import Recommendation


@dataclass(frozen=True)
class Column:
    """A figure: its name in files, its heading, what it is, and whether larger is better."""

    name: str
    heading: str
    meaning: str
    larger_is_better: bool = True


COLUMNS = (
    Column("dice", "Dice", "mean over the cases with a lesion; a missed one counts 0"),
    Column(
        "dice_nnunet",
        "Dice, nnU-Net",
        f"all cases; painted lesion-free ones count 0, those left empty not ({CONVENTION})",
    ),
    Column(
        "dice_all", "Dice, all cases", f"lesion-free cases count 1 when left empty, else 0 ({WITH_EMPTIES})"
    ),
    Column("nsd", "NSD", "normalised surface distance at the tolerance"),
    Column(
        "hd95",
        "HD95",
        "95th percentile of the Hausdorff distance, where both masks hold something",
        larger_is_better=False,
    ),
    Column("lesion_f1", "lesion F1", "lesion-wise, mean over cases"),
    Column("lesion_sensitivity", "lesion sens.", "share of found lesions, mean over cases with lesions"),
    Column("pq", "PQ", "panoptic quality, mean over cases"),
    Column(
        "case_sensitivity", "cases seen", "share of cases with a lesion not left empty; the rest is missed"
    ),
    Column("specificity", "specificity", "share of lesion-free cases left empty; exact interval"),
    Column(
        "false_volume", "false volume", "of whole false lesions, per lesion-free case", larger_is_better=False
    ),
    Column("false_lesions", "false lesions", "per lesion-free case", larger_is_better=False),
    Column(
        "presence_auroc", "presence AUROC", "lesion-bearing against lesion-free, by the largest logit margin"
    ),
    Column(
        "calibration_error",
        "ECE",
        "expected calibration error of the voxels' probability",
        larger_is_better=False,
    ),
    Column("ood_auroc", "OoD AUROC", "images of another kind against judged ones, by mean entropy"),
    Column(
        "specificity_calibrated", "specificity, thr.", "with the presence threshold of the validation cases"
    ),
    Column("case_sensitivity_calibrated", "cases seen, thr.", "likewise"),
    Column("dice_all_calibrated", "Dice, all cases, thr.", "likewise"),
)


# of the page's tables: what each is about, and its columns
GROUPS = {
    "Masks": (
        *("dice", "dice_nnunet", "dice_all", "nsd", "hd95"),
        *("lesion_f1", "lesion_sensitivity", "pq", "case_sensitivity"),
    ),
    "Images without anything to find, and how sure the network is": (
        *("specificity", "false_volume", "false_lesions"),
        *("specificity_calibrated", "case_sensitivity_calibrated", "dice_all_calibrated"),
        *("presence_auroc", "calibration_error", "ood_auroc"),
    ),
}


def figure_records(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """List every figure of every loss, one each, for CSV."""
    for outcome in comparison.outcomes:
        for column in COLUMNS:
            estimate = comparison.figures[outcome.loss][column.name]
            values = {name: plain(value) for name, value in asdict(estimate).items()}
            yield {"loss": outcome.loss, "label": comparison.label, "measure": column.name, **values}
        for name, value in (
            ("seconds_per_epoch", seconds_per_epoch(outcome)),
            ("peak_memory", peak_memory(outcome)),
        ):
            yield {
                "loss": outcome.loss,
                "label": "",
                "measure": name,
                "value": value,
                "low": None,
                "high": None,
                "n": len(outcome.runs),
            }


def case_records(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """List what was measured of every case in every training, without any convention, for CSV."""
    from nnunet_losses.serve.metrics.case import CaseResult  # noqa: PLC0415 - only here
    from nnunet_losses.serve.metrics.report import case_rows  # noqa: PLC0415 - likewise

    for outcome in comparison.outcomes:
        for run in outcome.runs:
            cell = run.result.cell
            for (role, name), result in run.cases.items():
                (row,) = case_rows([CaseResult(name, {comparison.label: result})])
                said_empty = run.says_empty(result, calibrated=True)
                yield {"loss": cell.loss, "fold": cell.fold, "seed": cell.seed, "set": role.value, **row,
                       "empty_after_threshold": said_empty}  # fmt: skip


def as_json(
    comparison: Comparison,
    study: Study,
    pairs: Sequence[Pair],
    ranking: Ranking,
    recommendation: Recommendation,
) -> dict[str, Any]:
    """Give everything as strict JSON."""
    losses = {}
    for outcome in comparison.outcomes:
        figures = {name: asdict(one) for name, one in comparison.figures[outcome.loss].items()}
        cost = {"seconds_per_epoch": seconds_per_epoch(outcome), "peak_memory": peak_memory(outcome)}
        losses[outcome.loss] = {
            "trainings": [_training(one) for one in trainings(comparison, outcome)],
            "figures": figures,
            "by_size": [[low, high, asdict(estimate)] for low, high, estimate in comparison.by_size(outcome)],
            **cost,
        }
    failures = [
        {**cell.model_dump(), "reason": reason}
        for outcome in (*comparison.outcomes, *comparison.failed)
        for cell, reason in outcome.failures.items()
    ]
    content = {
        "settings": study.settings.model_dump(mode="json"),
        "label": comparison.label,
        "cases_with_label": comparison.positives,
        "cases_without": comparison.negatives,
        "losses": losses,
        "failures": failures,
        "pairs": [asdict(pair) for pair in pairs],
        "ranking": asdict(ranking) | {"mean_ranks": dict(ranking.mean_ranks)},
        "recommendation": asdict(recommendation),
    }
    return dict(plain(content))


def _training(training: Training) -> dict[str, Any]:
    return {**training.cell.model_dump(), **{k: v for k, v in asdict(training).items() if k != "cell"}}
