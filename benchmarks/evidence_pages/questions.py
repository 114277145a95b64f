"""What the comparisons on phantoms are asked: written down before they ran, see phantoms_protocol.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.evidence import ODYSSEY, RELATIVE
from nnunet_losses.compare.statistics import Pair, compare_pairs, holm
from nnunet_losses.serve.metrics.conventions import Metric

from .markdown import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.compare.outcomes import Comparison, Outcome, Run
    from nnunet_losses.serve.metrics.case import LabelResult

    Values = NDArray[np.float64]  # (runs, cases)

COMPOUND = ("dice_ce", "dice_focal", "dice_topk", "dice_boundary", "dice_hausdorff")  # with Dice
OTHERS = tuple(loss for loss in ODYSSEY if loss not in COMPOUND)


def _of_metric(metric: Metric) -> Callable[[Comparison, Outcome], Values]:
    return lambda comparison, outcome: comparison.of_positives(outcome, metric)


def _false_pixels(comparison: Comparison, outcome: Outcome) -> Values:
    return comparison.table(
        outcome, lambda _, case: math.nan if case.present else float(case.false_positive_volume)
    )


def _false_lesions(comparison: Comparison, outcome: Outcome) -> Values:
    return comparison.table(outcome, lambda _, case: float(case.lesions.fp) if case.present else math.nan)


def _small_found(comparison: Comparison, outcome: Outcome) -> Values:
    """Share of found ones among the case's lesions of the smallest fifth."""
    edge = comparison.size_edges()[1]

    def share(_: Run, case: LabelResult) -> float:
        small = case.lesions.reference_voxels * case.voxel_size < edge
        return float(case.lesions.found[small].mean()) if small.any() else math.nan

    return comparison.table(outcome, share)


MEASURES: Mapping[str, tuple[str, Callable[[Comparison, Outcome], Values]]] = {
    "dice": ("Dice", _of_metric(Metric.DICE)),
    "hd95": ("HD95, pixels", _of_metric(Metric.HD95)),
    "hd95_mm": ("HD95, mm", _of_metric(Metric.HD95)),
    "lesion_f1": ("lesion F1", _of_metric(Metric.LESION_F1)),
    "lesion_sensitivity": ("lesion sensitivity", _of_metric(Metric.LESION_SENSITIVITY)),
    "small_found": ("share of the smallest fifth of lesions found", _small_found),
    "false_lesions": ("false lesions in an image with lesions", _false_lesions),
    "false_pixels": ("pixels of false lesions in an image without", _false_pixels),
}


@dataclass(frozen=True)
class Question:
    """A difference that a paper lets expect.

    Attributes:
        words: what is expected.
        first: losses whose mean is taken.
        second: losses that it is compared with.
        measure: key of ``MEASURES``.
        expected: 1 where the first is to be larger, -1 where smaller.
    """

    words: str
    first: tuple[str, ...]
    second: tuple[str, ...]
    measure: str
    expected: int

    @property
    def losses(self) -> str:
        """The two sides in short."""
        return " against ".join(
            f"`{side[0]}`" if len(side) == 1 else f"{len(side)} losses" for side in (self.first, self.second)
        )


def _more(words: str, measure: str, first: str, second: str) -> Question:
    return Question(words, (first,), (second,), measure, 1)


def _less(words: str, measure: str, first: str, second: str) -> Question:
    return Question(words, (first,), (second,), measure, -1)


QUESTIONS: Mapping[str, tuple[Question, ...]] = {
    "1_ce_dice": (
        _more("the sum segments better than cross-entropy", "dice", "ce_dice", "ce"),
        _more("the sum segments better than Dice", "dice", "ce_dice", "dice"),
        _more("the schedule segments better than cross-entropy", "dice", "ce_to_dice_linear", "ce"),
        _less("cross-entropy paints less where nothing is than the sum", "false_pixels", "ce", "ce_dice"),
        _less("cross-entropy paints less where nothing is than Dice", "false_pixels", "ce", "dice"),
        _less("so does the schedule", "false_pixels", "ce_to_dice_linear", "dice"),
    ),
    "2_instances": (
        _more("blob loss raises lesion F1", "lesion_f1", "blob_dice", "dice"),
        _more("blob loss finds more small lesions", "small_found", "blob_dice", "dice"),
        _more("a loss over components finds more lesions", "lesion_sensitivity", "cc_dice_ce", "dice_ce"),
        _more("it paints more false ones", "false_lesions", "cc_dice_ce", "dice_ce"),
        _more("CATMIL finds more small lesions", "small_found", "cat_mil", "dice_ce"),
    ),
    "3_boundary": (
        _more("the boundary, over the whole training, raises Dice", "dice", RELATIVE, "dice"),
        _less("it lowers the Hausdorff distance", "hd95", RELATIVE, "dice"),
        _more("with the authors' steps it raises Dice", "dice", "dice_boundary", "dice"),
    ),
    "4_empty": (
        _less("summed over the batch, less is painted", "false_pixels", "dice_batch", "dice_image"),
        _less("with the large epsilon, less is painted", "false_pixels", "dice_image_eps", "dice_image"),
    ),
    "4_missing": (
        _more(
            "summed for each image, Dice is higher than over the batch", "dice", "dice_image", "dice_batch"
        ),
        _more("and higher than with the large epsilon", "dice", "dice_image", "dice_image_eps"),
        _more("and more lesions are found", "lesion_sensitivity", "dice_image", "dice_batch"),
    ),
    "5_odyssey": (
        Question(
            "the five compounds with Dice are better than the other fifteen", COMPOUND, OTHERS, "dice", 1
        ),
    ),
}

MS_LESIONS: tuple[Question, ...] = (
    *QUESTIONS["2_instances"],
    _more("with the authors' steps the boundary raises Dice", "dice", "dice_boundary", "dice"),
    _less("it lowers the Hausdorff distance", "hd95_mm", "dice_boundary", "dice"),
    _less("over the whole training it lowers Dice, as on phantoms", "dice", RELATIVE, "dice"),
)


def questions(asked: Mapping[str, Sequence[Question]] = QUESTIONS) -> list[str]:
    """Give the lines of a protocol: the questions of each comparison."""
    rows = [
        (
            f"`{claim}`",
            one.words,
            one.losses,
            MEASURES[one.measure][0],
            "larger" if one.expected > 0 else "smaller",
        )
        for claim, questions in asked.items()
        for one in questions
    ]
    return [table(("comparison", "expected", "first against second", "measure", "the first is"), rows)]


def answers(asked: Sequence[Question], comparison: Comparison) -> list[tuple[Question, Pair | None]]:
    """Answer questions; None where a loss has no training. P values are corrected together."""
    found = [(question, _pair(question, comparison, len(asked))) for question in asked]
    corrected = iter(holm([pair.p for _, pair in found if pair is not None]))
    return [(question, pair and replace(pair, p_holm=next(corrected))) for question, pair in found]


def _pair(question: Question, comparison: Comparison, family: int) -> Pair | None:
    _, measure = MEASURES[question.measure]
    values = {outcome.loss: measure(comparison, outcome) for outcome in comparison.outcomes}
    if not {*question.first, *question.second} <= values.keys():
        return None
    sides = {side: _mean(values, losses) for side, losses in (("1", question.first), ("2", question.second))}
    others = {
        loss: one for loss, one in values.items() if loss not in {*question.first, *question.second}
    }  # how much trainings vary, they tell, too
    return compare_pairs({**sides, **others}, family=family)[0]


def _mean(values: Mapping[str, Values], losses: Sequence[str]) -> Values:
    mean: Values = np.mean([values[loss] for loss in losses], axis=0)
    return mean
