"""The report's page: one file without anything from elsewhere, to look at rather than to read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from nnunet_losses.compare.outcomes import MISSES
from nnunet_losses.compare.study import loss_configuration, title, trainer_name
from nnunet_losses.registry import get_loss_spec

from . import charts, curves
from .drawing import marks, themed
from .overlays import legend
from .style import CSS
from .tables import COLUMNS, GROUPS
from .words import number, percent, varied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nnunet_losses.compare.outcomes import Comparison, Outcome
    from nnunet_losses.compare.statistics import Pair, Ranking
    from nnunet_losses.compare.study import Study
    from nnunet_losses.serve.metrics.intervals import Estimate

    from .overlays import Row
    from .tables import Column
    from .words import Recommendation


@dataclass(frozen=True, eq=False)
class Content:
    """Everything that the page shows."""

    study: Study
    comparison: Comparison
    pairs: Sequence[Pair]
    ranking: Ranking
    recommendation: Recommendation
    rows: Sequence[Row]
    unit: str
    note: str = ""


def html(content: Content) -> str:
    """Write the page."""
    settings = content.study.settings
    name = f"Which loss? {settings.dataset}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{CSS}</style></head><body><main>{''.join(_parts(content))}</main></body></html>\n"
    )


def _parts(content: Content) -> Iterator[str]:
    comparison = content.comparison
    yield f"<h1>Comparison of losses on {escape(content.study.settings.dataset)}</h1>"
    if content.note:
        yield f'<div class="note">{escape(content.note)}</div>'
    yield f'<p class="answer">{escape(content.recommendation.headline)}</p>'
    if content.recommendation.advice:
        yield f'<p class="advice">{escape(content.recommendation.advice)}</p>'
    yield _facts(content)
    yield _unfinished(content)
    yield _section("Why, and what speaks against it", "", _reasons(content.recommendation))
    yield '<div class="two">'
    if comparison.positives:
        yield _section("How well they segment", _OVERALL, charts.forest(comparison))
    if comparison.positives and comparison.negatives:
        yield _section("Segmenting, and staying silent", _PARETO, charts.pareto(comparison))
    if comparison.positives and len(comparison.outcomes) > 1:
        picture = charts.critical_difference(comparison, content.ranking)
        yield _section("Ranks", _ranks_words(content.ranking), picture)
    yield _section("By size of the lesion", _SIZES, curves.size_curves(comparison, content.unit))
    yield _section("How they learned", _CURVES, curves.training_curves(comparison))
    yield _section("What they cost", _cost_words(comparison), charts.cost(comparison))
    yield "</div>"
    yield _section("All figures", _TABLE, "".join(_table(comparison, *group) for group in GROUPS.items()))
    yield _section("Pairs", _PAIRS.format(over=varied(content.pairs)), _pairs(content))
    yield _section("Where they fail", "", _overlay_words() + "".join(map(_case, content.rows)))
    yield _section(
        "Training loss", "Each on its own scale; a schedule may jump.", curves.loss_curves(comparison)
    )
    yield _section("What was compared", "", _losses(content.study))
    yield _failures([*comparison.outcomes, *comparison.failed])
    yield _footer(content)


_UNEVEN = 1.5  # slowest tenth over fastest tenth of a loss's epochs
_OVERALL = (
    "Mean Dice of the judged cases with a lesion, over cases and trainings; a missed one counts 0. Intervals "
    "resample both, as far as there are several; overlapping ones may still differ, see Pairs."
)
_PARETO = (
    "Right and up is better. Hollow: the masks as they are. Filled: after a presence threshold from the "
    "validation cases. Named: no other loss is better in both."
)
_SIZES = (
    "Share of the reference lesions that were found, in parts of about equal number. Lines: intervals from "
    "resampled cases, and trainings where there are several."
)
_CURVES = "nnU-Net's own running figure on random patches, smoothed; it chooses nothing here."
_TABLE = "Greener is better, within a column. Below each figure its 95 % interval."
_PAIRS = (
    "Difference in Dice, row minus column; its interval over {over}, at 95 % for all pairs "
    "together; and corrected p value (Wilcoxon over cases, Holm). Bold: shown to differ, by p below 0.05 and "
    "by an interval without 0."
)


def _section(title: str, words: str, body: str) -> str:
    if not body:
        return ""
    said = f"<p>{escape(words)}</p>" if words else ""
    return f"<section><h2>{escape(title)}</h2>{said}{themed(body)}</section>"


def _facts(content: Content) -> str:
    settings, comparison = content.study.settings, content.comparison
    done = sum(len(one.runs) for one in comparison.outcomes)
    facts = (
        (f"{done} of {len(content.study.cells)}", "trainings"),
        (str(len(comparison.outcomes)), "losses"),
        (_folds(content.study.folds), ""),
        (str(len(content.study.seeds)), "seed" if len(content.study.seeds) == 1 else "seeds"),
        (f"{settings.epochs} × {settings.iterations}", "iterations"),
        (str(comparison.positives), f"judged cases with {comparison.label}"),
        (str(comparison.negatives), "without"),
        (settings.configuration, settings.device),
    )
    return (
        '<ul class="facts">' + "".join(f"<li><b>{escape(a)}</b> {escape(b)}</li>" for a, b in facts) + "</ul>"
    )


def _folds(folds: Sequence[int]) -> str:
    return f"fold{'' if len(folds) == 1 else 's'} {', '.join(map(str, folds))}"


def _unfinished(content: Content) -> str:
    ended = sum(
        len(one.runs) + len(one.failures)
        for one in (*content.comparison.outcomes, *content.comparison.failed)
    )
    if ended == len(content.study.cells):
        return ""
    words = (
        f"Not finished: {ended} of {len(content.study.cells)} trainings have ended. All of this may change."
    )
    return f'<div class="note">{escape(words)}</div>'


def _reasons(recommendation: Recommendation) -> str:
    reasons = "".join(f"<li>{escape(one)}</li>" for one in recommendation.reasons)
    doubts = "".join(f"<li>{escape(one)}</li>" for one in recommendation.doubts)
    return f'<ul class="reasons">{reasons}</ul><ul class="doubts">{doubts}</ul>'


def _ranks_words(ranking: Ranking) -> str:
    same = (
        f"; that all rank alike has p = {ranking.friedman_p:.2g} (Friedman)"
        if ranking.friedman_p == ranking.friedman_p
        else ""
    )
    return (
        f"Mean rank by Dice over {ranking.cases} cases, 1 is best{same}. Bars join losses of which no pair "
        "is shown to differ."
    )


def _table(comparison: Comparison, heading: str, names: Sequence[str]) -> str:
    shown = [column for column in COLUMNS if column.name in names and _known(comparison, column)]
    if not shown:
        return ""
    heads = "".join(f'<th scope="col">{escape(one.heading)}</th>' for one in shown)
    order = charts.ordered(comparison, "dice")
    shades = {column.name: _shades(comparison, column) for column in shown}
    rows = []
    for outcome in order:
        figures = comparison.figures[outcome.loss]
        cells = "".join(_cell(figures[one.name], shades[one.name][outcome.loss]) for one in shown)
        rows.append(f"<tr>{_row_head(comparison, outcome)}{cells}</tr>")
    table = _scrolled(heading, f'<th scope="col">loss</th>{heads}', rows)
    meanings = "".join(f"<dt>{escape(one.heading)}</dt><dd>{escape(one.meaning)}</dd>" for one in shown)
    return (
        f"<h3>{escape(heading)}</h3>{table}"
        f"<details><summary>What the columns are</summary><dl>{meanings}</dl></details>"
    )


def _scrolled(name: str, heads: str, rows: Sequence[str], kind: str = "") -> str:
    """A table that is moved by itself where it is too wide, also by keys."""
    head = f"<thead><tr>{heads}</tr></thead>"
    table = f'<table class="{kind}">' if kind else "<table>"
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">'
        f"{table}{head}<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row_head(comparison: Comparison, outcome: Outcome) -> str:
    dot = f'<span class="dot" style="background:{marks(comparison)[outcome.loss].colour}"></span>'
    return f'<th scope="row">{dot}{escape(outcome.title)}</th>'


def _known(comparison: Comparison, column: Column) -> bool:
    return any(not math.isnan(figures[column.name].value) for figures in comparison.figures.values())


def _shades(comparison: Comparison, column: Column) -> dict[str, float]:
    """From 0, worst of the column, to 1."""
    values = {loss: figures[column.name].value for loss, figures in comparison.figures.items()}
    finite = [value for value in values.values() if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)

    def shade(value: float) -> float:
        if not math.isfinite(value) or low == high:
            return 0.0
        part = (value - low) / (high - low)
        return part if column.larger_is_better else 1 - part

    return {loss: shade(value) for loss, value in values.items()}


def _cell(estimate: Estimate, shade: float) -> str:
    if math.isnan(estimate.value):
        return "<td>–</td>"
    digits = 3 if abs(estimate.value) < 10 else 1
    ends = [number(one, digits) for one in (estimate.low, estimate.high)]
    small = "" if math.isnan(estimate.low) else f"<small>{' – '.join(ends)}</small>"
    colour = f"rgba(0,158,115,{0.28 * shade:.3f})"
    return f'<td style="background:{colour}">{number(estimate.value, digits)}{small}</td>'


def _pairs(content: Content) -> str:
    order = charts.ordered(content.comparison, "dice")
    if len(order) < 2:
        return ""
    by_names = {(pair.first, pair.second): pair for pair in content.pairs}
    heads = "".join(f'<th scope="col">{escape(one.title)}</th>' for one in order)
    rows = []
    for row in order:
        cells = "".join(_pair_cell(by_names, row.loss, column.loss) for column in order)
        rows.append(f"<tr>{_row_head(content.comparison, row)}{cells}</tr>")
    return _scrolled("Pairs", f'<th scope="col">loss</th>{heads}', rows)


def _pair_cell(by_names: dict[tuple[str, str], Pair], row: str, column: str) -> str:
    pair = by_names.get((row, column)) or by_names.get((column, row))
    if pair is None:
        return "<td></td>"
    one = pair.difference
    if math.isnan(one.value):
        return "<td>–</td>"
    value, low, high = (
        (one.value, one.low, one.high) if pair.first == row else (-one.value, -one.high, -one.low)
    )
    words = f"{value:+.3f}".replace("-", "−")
    shown = f"<b>{words}</b>" if pair.shown else words
    ends = "" if math.isnan(low) else f"<small>{low:+.3f} to {high:+.3f}</small>".replace("-", "−")
    p = f"p = {pair.p_holm:.3f}" if pair.p_holm >= 0.001 else "p &lt; 0.001"
    return f"<td>{shown}{ends}<small>{p}</small></td>"


def _overlay_words() -> str:
    marks = "".join(
        f'<span class="line" style="border-color:{colour}"></span>{name} '
        for name, colour in legend().items()
    )
    return f"<p>{marks} The number is Dice. The first training of each loss.</p>"


def _losses(study: Study) -> str:
    rows = []
    for loss in study.losses:
        spec = get_loss_spec(loss_configuration(loss).loss)
        words = (trainer_name(loss, study.settings), spec.summary, spec.reference)
        cells = "".join(f"<td>{escape(one)}</td>" for one in words)
        rows.append(f'<th scope="row">{escape(title(loss))}</th>{cells}')
    names = ("here", "trainer", "what it is", "source")
    heads = "".join(f'<th scope="col">{one}</th>' for one in names)
    return _scrolled("Losses", heads, [f"<tr>{row}</tr>" for row in rows], "words")


def _cost_words(comparison: Comparison) -> str:
    words = "Bars: median epoch, largest memory. Thin lines: the fastest and slowest tenth of the epochs."
    if max(map(charts.unevenness, comparison.outcomes)) > _UNEVEN:
        return (
            f"{words} Epochs of one and the same loss took very different times: the machine had other work, "
            "and these times do not compare the losses."
        )
    return words


def _case(row: Row) -> str:
    thumbs = "".join(
        f'<figure><img src="{one.source}" alt="{escape(one.words)}">'
        f"<figcaption>{escape(one.words)}</figcaption></figure>"
        for one in row.overlays
    )
    head = f"<h3>{escape(row.case)} <span>{escape(row.why)}</span></h3>"
    return f'<div class="case">{head}<div class="thumbs">{thumbs}</div></div>'


def _failures(outcomes: Iterable[Outcome]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(cell.name)}</th><td>{escape(reason)}</td></tr>'
        for outcome in outcomes
        for cell, reason in outcome.failures.items()
    )
    body = f'<table class="words"><tbody>{rows}</tbody></table>' if rows else ""
    return _section(
        "Failed trainings", "Tried again when the command is run again; details in their folders.", body
    )


def _footer(content: Content) -> str:
    settings = content.study.settings
    words = (
        f"Losses trained by nnU-Net with equal settings: plans {settings.plans}, "
        f"{settings.network.model_dump_json(exclude_none=True)}, variant {settings.variant or 'none'}, "
        f"{settings.threads} thread(s), NSD tolerance {settings.tolerance:g}. Presence thresholds are "
        f"calibrated on each fold's validation cases at {percent(MISSES)} misses. Figures as results.csv, "
        "cases.csv and results.json beside this page."
    )
    return f"<footer><p>{escape(words)}</p></footer>"
