"""The recommendation in words, with what it does not know."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_losses.compare.outcomes import MISSES
from nnunet_losses.compare.statistics import SIGNIFICANCE, compare_pairs
from nnunet_losses.compare.study import title

from .choice import choice, leaders

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
    """In words.

    Attributes:
        headline: what is shown.
        reasons: what it rests on.
        doubts: what speaks against it.
        advice: which loss to take where that decides nothing; else empty.
    """

    headline: str
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]
    advice: str = ""


def recommend(comparison: Comparison, pairs: Sequence[Pair]) -> Recommendation:
    """Say which loss to take, as far as the figures can tell."""
    if not comparison.positives:
        free = tuple(_free(comparison, comparison.outcomes, None))
        words = f"There is nothing to rank by: no judged case has {comparison.label}."
        return Recommendation(words, free, tuple(_doubts(comparison)))
    ordered = sorted(comparison.outcomes, key=lambda one: -_sortable(_dice(comparison, one)))
    best = ordered[0]
    shown = set(_shown(pairs))
    alike = [one for one in ordered[1:] if not {(best.loss, one.loss), (one.loss, best.loss)} & shown]
    better = [one for one in ordered[1:] if (one.loss, best.loss) in shown]
    reasons = [
        _best(comparison, best),
        *_told_apart(best, ordered, pairs),
        *_free(comparison, [best, *alike], best),
    ]
    headline = _contradiction(best, better) if better else _headline(best, alike, ordered, pairs)
    advice = "" if better else choice(comparison, [best, *alike])
    return Recommendation(headline, tuple(reasons), tuple(_doubts(comparison)), advice)


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


def counted(number: int, thing: str) -> str:
    """Write a number of things.

    Example:
        >>> counted(1, "case"), counted(2, "case")
        ('1 case', '2 cases')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _dice(comparison: Comparison, outcome: Outcome) -> Estimate:
    return comparison.figures[outcome.loss]["dice"]


def _sortable(estimate: Estimate) -> float:
    return -math.inf if math.isnan(estimate.value) else estimate.value


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
    once = all(pair.trainings < 2 for pair in pairs)
    single = " Each was trained once: another seed may say otherwise." if once else ""
    if not alike:
        return f"{best.title} segments best here; every other loss is shown to be worse.{single}"
    if len(alike) == len(ordered) - 1:
        if not any(pair.shown for pair in pairs):
            return f"No difference in Dice can be shown between the {len(ordered)} losses."
        return f"{best.title} has the highest mean Dice, but cannot be shown to be better than any other."
    if len(alike) > _LISTED:
        others = f"{len(alike)} of the {len(ordered) - 1} others"
    else:
        others = listed([one.title for one in alike])
    return f"{best.title} has the highest mean Dice, but no difference can be shown to {others}.{single}"


def _contradiction(best: Outcome, better: Sequence[Outcome]) -> str:
    """Losses with fewer trainings can have a higher mean, and be worse in those that both have."""
    return (
        f"{best.title} has the highest mean Dice of the trainings that it has, but {_names(better)} "
        f"{'is' if len(better) == 1 else 'are'} shown to be better in those that both have."
    )


def _best(comparison: Comparison, best: Outcome) -> str:
    runs, cases = len(best.runs), comparison.figures[best.loss]["dice"].n
    both = f"{runs} trainings (95 % interval, from resampled cases and trainings)"
    return (
        f"{best.title}: mean Dice {interval(_dice(comparison, best))} over {counted(cases, 'case')} and "
        f"{both if runs > 1 else 'one training (95 % interval, from resampled cases alone)'}."
    )


def _told_apart(best: Outcome, ordered: Sequence[Outcome], pairs: Sequence[Pair]) -> Iterator[str]:
    shown = set(_shown(pairs))
    worse = [one.title for one in ordered if (best.loss, one.loss) in shown]
    if worse:
        yield f"Worse than {best.title}, and shown to be: {listed(worse)}."
    others = [
        f"{title(better)} better than {title(other)}"
        for better, other in sorted(shown)
        if better != best.loss
    ]
    if others:
        yield f"Shown among the others: {listed(others[:_LISTED])}" + (
            f", and {len(others) - _LISTED} more, see Pairs." if len(others) > _LISTED else "."
        )
    if pairs:
        yield _meaning(pairs)


def _meaning(pairs: Sequence[Pair]) -> str:
    """What "shown" means."""
    return (
        f"Shown means: by a test on the same cases (Wilcoxon, {counted(len(pairs), 'pair')}, Holm, "
        f"{percent(SIGNIFICANCE)}) and by an interval over {varied(pairs)} without 0. Not shown is not equal."
    )


def varied(pairs: Sequence[Pair]) -> str:
    """Over what intervals of differences are: trainings must be repeated to know how much they vary."""
    return "cases and trainings" if any(pair.trainings > 1 for pair in pairs) else "cases alone"


def _free(comparison: Comparison, candidates: Sequence[Outcome], best: Outcome | None) -> Iterator[str]:
    """What lesion-free cases add: among losses alike in Dice, who is silent where nothing is."""
    if not comparison.negatives:
        yield "No judged case is free of lesions: what a loss does there is unknown. Give --negatives."
        return
    silent, everyone = (
        leaders(comparison, some, "specificity") for some in (candidates, comparison.outcomes)
    )
    if silent:
        among = f", most among those not told apart from {best.title}" if best and len(candidates) > 1 else ""
        yield f"Of {_cases(comparison.negatives)} {_left_empty(comparison, silent)}{among}."
    if everyone and silent and everyone[0] not in silent:
        shown = _silence(comparison, everyone[0], silent[0])
        yield f"Most of all: {_left_empty(comparison, everyone)}; {shown}."
    yield from _after(comparison)


def _left_empty(comparison: Comparison, tied: Sequence[Outcome], name: str = "specificity") -> str:
    estimate = comparison.figures[tied[0].loss][name]
    return (
        f"{_names(tied)} left {percent(estimate.value)} empty "
        f"(exact 95 % interval {percent(estimate.low)} to {percent(estimate.high)})"
    )


def _after(comparison: Comparison) -> Iterator[str]:
    allowed = f"at most {percent(MISSES)} of those with a lesion called empty"
    if all(math.isinf(run.threshold) for one in comparison.outcomes for run in one.runs):
        yield f"The validation cases are too few for a presence threshold ({allowed}): there is none."
        return
    best = leaders(comparison, comparison.outcomes, "specificity_calibrated")
    if not best or not comparison.figures[best[0].loss]["specificity_calibrated"].value > 0:
        yield "With a presence threshold from the validation cases, no loss leaves a lesion-free case empty."
        return
    kept = [comparison.figures[one.loss]["case_sensitivity_calibrated"].value for one in best]
    answered = (
        percent(min(kept)) if max(kept) == min(kept) else f"{percent(min(kept))} to {percent(max(kept))}"
    )
    still = f", and still answered on {answered} of the cases with a lesion" if comparison.positives else ""
    yield (
        f"With a presence threshold from the validation cases ({allowed}) "
        f"{_left_empty(comparison, best, 'specificity_calibrated')}{still}: the most of all."
    )


def _silence(comparison: Comparison, first: Outcome, second: Outcome) -> str:
    """Whether two losses differ in what they leave empty; of all pairs, as they were chosen from all."""
    values = {
        one.loss: comparison.table(
            one, lambda run, case: math.nan if case.present else float(run.says_empty(case, calibrated=False))
        )
        for one in comparison.outcomes
    }
    (pair,) = (one for one in compare_pairs(values) if {one.first, one.second} == {first.loss, second.loss})
    shown = "can" if pair.shown else "cannot"
    return f"a difference to {second.title} {shown} be shown (p = {pair.p_holm:.2g}, Holm)"


def _cases(negatives: int) -> str:
    return "the one lesion-free case" if negatives == 1 else f"{negatives} lesion-free cases"


def _names(outcomes: Sequence[Outcome]) -> str:
    """Of losses, or how many where they are many."""
    few = len(outcomes) <= _LISTED
    return listed([one.title for one in outcomes]) if few else f"{len(outcomes)} losses"


def _doubts(comparison: Comparison) -> Iterator[str]:
    yield from _few_trainings(comparison)
    if comparison.positives < _FEW_CASES:
        only = counted(comparison.positives, "judged case")
        yield f"Only {only} with {comparison.label}: real differences may go unseen."
    if 0 < comparison.negatives < _FEW_FREE:
        even = percent(1 - 0.025 ** (1 / comparison.negatives))
        cases = counted(comparison.negatives, "lesion-free case")
        yield f"{cases}: even with none painted, a false-alarm rate of up to {even} is possible."
    yield from _incomplete(comparison)


def _few_trainings(comparison: Comparison) -> Iterator[str]:
    seeds, folds = ({slot[place] for slot in comparison.slots} for place in (1, 0))
    if len(seeds) == 1:
        yield "Every loss was trained once per fold: how much another seed would change is unknown."
    elif len(seeds) < 5:
        yield (
            f"{len(seeds)} seeds tell little about how much another one would change; intervals of single "
            "losses, which resample them, are rather too short. Those of pairs take all losses to vary alike "
            "from training to training."
        )
    if len(folds) == 1:
        yield "One fold: another split of the training data may rank otherwise."


def _incomplete(comparison: Comparison) -> Iterator[str]:
    incomplete = [one for one in (*comparison.outcomes, *comparison.failed) if one.failures]
    if incomplete:
        yield f"Trainings failed: {_names(incomplete)}; see below."
    missing = [
        one for one in comparison.outcomes if len(one.runs) + len(one.failures) < len(comparison.slots)
    ]
    if missing:
        yield f"Not all trainings are done: {_names(missing)} have fewer than the others."
    fewer = [one for one in comparison.outcomes if _dice(comparison, one).n < comparison.positives]
    if fewer:
        yield (
            f"Judged on fewer cases than others: {_names(fewer)}. Their means do not compare; pairs are of "
            "the same cases, and do."
        )
