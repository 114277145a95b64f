"""The recommendation in words, with what it does not know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_losses.compare.outcomes import MISSES
from nnunet_losses.compare.statistics import SIGNIFICANCE, wilcoxon_p
from nnunet_losses.compare.statistics import case_means as over_runs
from nnunet_losses.compare.study import title

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nnunet_losses.compare.outcomes import Comparison, Outcome
    from nnunet_losses.compare.statistics import Pair
    from nnunet_losses.serve.metrics.intervals import Estimate

_FEW_CASES = 30
_FEW_FREE = 20
_LISTED = 6


@dataclass(frozen=True)
class Recommendation:
    """``headline``: one sentence; ``reasons``: what it rests on; ``doubts``: what speaks against it."""

    headline: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]


def recommend(comparison: Comparison, pairs: Sequence[Pair]) -> Recommendation:
    """Say which loss to take, as far as the figures can tell."""
    if not comparison.positives:
        return Recommendation("There is nothing to rank by: no judged case has the label.", (), ())
    ordered = sorted(comparison.outcomes, key=lambda one: -_sortable(_dice(comparison, one)))
    best = ordered[0]
    alike = [one for one in ordered[1:] if not _differs(pairs, best.loss, one.loss)]
    reasons = [
        _best(comparison, best),
        *_told_apart(best, alike, ordered, pairs),
        *_free(comparison, [best, *alike]),
    ]
    headline = _headline(best, alike, ordered, pairs)
    return Recommendation(headline, tuple(reasons), tuple(_doubts(comparison)))


def percent(value: float) -> str:
    """Write a share.

    Example:
        >>> percent(0.625), percent(float("nan"))
        ('62 %', '–')
    """
    return "–" if math.isnan(value) else f"{100 * value:.0f} %"


def number(value: float, digits: int = 3) -> str:
    """Write a number; a dash where there is none."""
    return "–" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:.{digits}f}"


def interval(estimate: Estimate) -> str:
    """Write a figure with its interval."""
    if math.isnan(estimate.low):
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _dice(comparison: Comparison, outcome: Outcome) -> Estimate:
    return comparison.figures[outcome.loss]["dice"]


def _sortable(estimate: Estimate) -> float:
    return -math.inf if math.isnan(estimate.value) else estimate.value


def _differs(pairs: Sequence[Pair], first: str, second: str) -> bool:
    return any(pair.shown and {pair.first, pair.second} == {first, second} for pair in pairs)


def _shown(pairs: Sequence[Pair]) -> Iterator[tuple[str, str]]:
    """Pairs that differ, the better loss first."""
    for pair in pairs:
        if pair.shown:
            first_is_better = pair.difference.value > 0
            yield (pair.first, pair.second) if first_is_better else (pair.second, pair.first)


def _headline(
    best: Outcome, alike: Sequence[Outcome], ordered: Sequence[Outcome], pairs: Sequence[Pair]
) -> str:
    if len(ordered) == 1:
        return f"Only {best.title} has a result; there is nothing to compare it with."
    if not alike:
        return f"{best.title} segments best here; every other loss is worse, and the difference can be shown."
    if len(alike) == len(ordered) - 1:
        if not any(pair.shown for pair in pairs):
            return f"No difference in Dice can be shown between the {len(ordered)} losses."
        return f"{best.title} has the highest mean Dice, but cannot be shown to be better than any other."
    return (
        f"{best.title} has the highest mean Dice, but no difference can be shown between it and "
        f"{listed([one.title for one in alike])}."
    )


def _best(comparison: Comparison, best: Outcome) -> str:
    runs = len(best.runs)
    both = f"{runs} trainings (95 % interval over cases and trainings)"
    return (
        f"{best.title}: mean Dice {interval(_dice(comparison, best))} over {comparison.positives} cases and "
        f"{both if runs > 1 else 'one training (95 % interval over cases alone)'}."
    )


def _told_apart(
    best: Outcome, alike: Sequence[Outcome], ordered: Sequence[Outcome], pairs: Sequence[Pair]
) -> Iterator[str]:
    names = {one.loss for one in alike} | {best.loss}
    worse = [one.title for one in ordered if one.loss not in names]
    if worse:
        yield f"Worse than {best.title}, and shown to be: {listed(worse)}."
    others = [
        f"{title(better)} better than {title(other)}"
        for better, other in _shown(pairs)
        if better != best.loss
    ]
    if others:
        yield f"Shown among the others: {listed(others[:_LISTED])}" + (
            f", and {len(others) - _LISTED} more, see Pairs." if len(others) > _LISTED else "."
        )
    if pairs:
        yield (
            f"Shown means: by a test on the same cases (Wilcoxon, {len(pairs)} pairs, Holm, "
            f"{percent(SIGNIFICANCE)}) and by an interval over cases and trainings. Not shown is not equal."
        )


def _free(comparison: Comparison, candidates: Sequence[Outcome]) -> Iterator[str]:
    """What lesion-free cases add: among losses alike in Dice, who is silent where nothing is."""
    if not comparison.negatives:
        yield "No judged case is free of lesions: what a loss does there is unknown. Give --negatives."
        return
    figures = comparison.figures
    silent = max(candidates, key=lambda one: figures[one.loss]["specificity"].value)
    everyone = max(comparison.outcomes, key=lambda one: figures[one.loss]["specificity"].value)
    most = figures[silent.loss]["specificity"].value
    tied = [one for one in candidates if figures[one.loss]["specificity"].value == most]
    yield f"Of {comparison.negatives} lesion-free cases {_left_empty(comparison, *tied)}" + (
        f", most among those not told apart from {candidates[0].title}." if len(candidates) > 1 else "."
    )
    if (
        everyone is not silent
        and figures[everyone.loss]["specificity"].value > figures[silent.loss]["specificity"].value
    ):
        p = wilcoxon_p(_silence(comparison, everyone) - _silence(comparison, silent))
        shown = "the difference can be shown" if p < SIGNIFICANCE else "a difference cannot be shown"
        yield f"Most of all: {_left_empty(comparison, everyone)}; {shown} (p = {p:.2g}, not corrected)."
    yield _after(comparison)


def _left_empty(comparison: Comparison, *tied: Outcome) -> str:
    estimate = comparison.figures[tied[0].loss]["specificity"]
    return (
        f"{listed([one.title for one in tied])} left {percent(estimate.value)} empty "
        f"(exact 95 % interval {percent(estimate.low)} to {percent(estimate.high)})"
    )


def _after(comparison: Comparison) -> str:
    best = max(
        comparison.outcomes, key=lambda one: comparison.figures[one.loss]["specificity_calibrated"].value
    )
    figures = comparison.figures[best.loss]
    if not figures["specificity_calibrated"].value > 0:
        return "With a presence threshold from the validation cases, no loss leaves a lesion-free case empty."
    after, kept = figures["specificity_calibrated"], figures["case_sensitivity_calibrated"]
    return (
        f"With a presence threshold from the validation cases (at most {percent(MISSES)} of those with "
        f"a lesion called empty), the best is {best.title}: {percent(after.value)} left empty "
        f"[{percent(after.low)}, {percent(after.high)}], while it still answers on {percent(kept.value)} of "
        "the cases with a lesion."
    )


def _silence(comparison: Comparison, outcome: Outcome):  # type: ignore[no-untyped-def]  # noqa: ANN202 - an array
    table = comparison.table(
        outcome,
        lambda run, case: math.nan if case.present else float(run.says_empty(case, calibrated=False)),
    )
    return over_runs(table)


def _doubts(comparison: Comparison) -> Iterator[str]:
    seeds, folds = ({slot[place] for slot in comparison.slots} for place in (1, 0))
    if len(seeds) == 1:
        yield "Every loss was trained once per fold: how much another seed would change is unknown."
    elif len(seeds) < 5:
        yield f"{len(seeds)} seeds tell little about how much another one would change."
    if len(folds) == 1:
        yield "One fold: another split of the training data may rank otherwise."
    if comparison.positives < _FEW_CASES:
        yield f"Only {comparison.positives} judged cases have the label: real differences may go unseen."
    if 0 < comparison.negatives < _FEW_FREE:
        yield (
            f"{comparison.negatives} lesion-free cases: even none painted leaves a false-alarm rate of up to "
            f"{percent(1 - 0.025 ** (1 / comparison.negatives))} possible."
        )
    incomplete = [one.title for one in (*comparison.outcomes, *comparison.failed) if one.failures]
    if incomplete:
        yield f"Trainings failed: {listed(incomplete)}; see below."
    missing = [
        one.title for one in comparison.outcomes if len(one.runs) + len(one.failures) < len(comparison.slots)
    ]
    if missing:
        yield f"Not all trainings are done: {listed(missing)} have fewer than the others."
