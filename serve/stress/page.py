"""The report of a stress test: one page that needs no other files and no network."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .style import STYLE
from .suite import CORRUPTIONS
from .summary import HARMFUL, Cell, Kind, Summary, sentences
from .trials import Finding, Trial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Key = tuple[str | None, int]  # damage and strength

STRENGTHS = ("mild", "middle", "strong")
WORDS = {
    Kind.NOTICED: "noticed every time",
    Kind.SOMETIMES: "noticed sometimes",
    Kind.HARMLESS: "unnoticed, masks unchanged",
    Kind.DANGEROUS: "unnoticed, masks changed",
    Kind.UNKNOWN: "unnoticed",
}
FAMILIES = {
    "acquisition": "What goes wrong in a scanner",
    "space": "What goes wrong with headers and hands",
    "unit": "Intensities in another unit",
    "channels": "Channels mixed up",
    "content": "No image of the kind",
    "contract": "What the contract must refuse",
}


def page(summary: Summary, pictures: Mapping[Key, str], labels: Sequence[tuple[str, str]]) -> str:
    """Make the page.

    Args:
        summary: the run.
        pictures: addresses of the first case's pictures, by damage and strength.
        labels: name and colour (``#rrggbb``) of each label.
    """
    cells = summary.cells()
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>Stress test: {escape(summary.model)}</title>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style><main>",
        f"<p class=kicker>Stress test</p><h1>{escape(summary.model)}</h1>",
        _lead(summary, cells),
        "<h2>What is noticed</h2>",
        _legend(),
        _table(cells),
        "<h2>What it looks like</h2>",
        _caption(summary, labels),
        *_gallery(summary, pictures),
        _footer(summary),
        "</main></html>",
    ]
    return "\n".join(parts)


def _lead(summary: Summary, cells: Sequence[Cell]) -> str:
    first, *rest = sentences(summary)
    dangerous = sum(cell.kind is Kind.DANGEROUS for cell in cells)
    usual = summary.usual
    figures = (
        (f"{sum(cell.kind is Kind.NOTICED for cell in cells)} of {len(cells)}", "damages noticed every time"),
        (str(dangerous), "unnoticed damages that change the masks"),
        (f"{sum(trial.finding.is_noticed for trial in usual)} of {len(usual)}",
         "undamaged images called strange"),
    )  # fmt: skip
    tiles = "".join(f"<li><b>{number}</b><span>{what}</span></li>" for number, what in figures)
    calibrated = "" if summary.is_calibrated else "<p class=notice><b>Not calibrated.</b> "
    notice = f"{calibrated}{escape(rest.pop())}</p>" if calibrated else ""
    told = "".join(f"<p>{escape(sentence)}</p>" for sentence in rest)
    return f"<p class=lead>{escape(first)}</p><ul class=figures>{tiles}</ul>{notice}{told}"


def _legend() -> str:
    chips = "".join(f"<span class='chip {kind.value}'>{words}</span>" for kind, words in WORDS.items())
    return (
        f"<p class=legend>{chips}</p><p class=note>Each field says in how many cases the damage was noticed; "
        "below, how well the mask agrees with that of the undamaged image (median Dice). Damages marked "
        "&#9702; may be impossible to see in principle.</p>"
    )


def _table(cells: Iterable[Cell]) -> str:
    rows: dict[str, list[Cell]] = {}
    for cell in cells:
        rows.setdefault(cell.corruption, []).append(cell)
    lines, family = [], None
    for key, row in rows.items():
        corruption = CORRUPTIONS[key]
        if corruption.family != family:
            family = corruption.family
            lines.append(f"<tr class=family><th colspan=4>{FAMILIES[family.value]}</th></tr>")
        lines.append(_row(row))
    heads = "".join(f"<th scope=col>{strength}</th>" for strength in STRENGTHS)
    head, body = f"<thead><tr><th scope=col>damage</th>{heads}</tr></thead>", "".join(lines)
    return f"<table>{head}<tbody>{body}</tbody></table>"


def _row(row: Sequence[Cell]) -> str:
    corruption = CORRUPTIONS[row[0].corruption]
    mark = (
        ""
        if corruption.undetectable is None
        else f" <span title='{escape(corruption.undetectable)}'>&#9702;</span>"
    )
    if len(corruption.strengths) == 1:
        fields = _field(row[0], span=3)
    else:
        by_severity = {cell.severity: cell for cell in row}
        fields = "".join(
            _field(by_severity[severity]) if severity in by_severity else "<td></td>" for severity in range(3)
        )
    title = f"<a href='#{corruption.key}'>{escape(corruption.title)}</a>"
    return f"<tr><th scope=row>{title}{mark}</th>{fields}</tr>"


def _field(cell: Cell, span: int = 1) -> str:
    agreement = "" if cell.agreement is None else f"<small>Dice {cell.agreement:.2f}</small>"
    told = f"{cell.noticed} of {cell.cases} noticed: {WORDS[cell.kind]}"
    return (
        f"<td colspan={span} class='{cell.kind.value}' title='{told}'><b>{cell.noticed}/{cell.cases}</b>"
        f"{agreement}</td>"
    )


def _caption(summary: Summary, labels: Sequence[tuple[str, str]]) -> str:
    case = summary.usual[0].case if summary.usual else ""
    colours = " ".join(
        f"<span class=label><i style='background:{colour}'></i>{escape(name)}</span>"
        for name, colour in labels
    )
    return f"<p class=note>Case {escape(case)}, the slice with most of the mask. {colours}</p>"


def _gallery(summary: Summary, pictures: Mapping[Key, str]) -> Iterable[str]:
    if not summary.usual:
        return
    first = summary.usual[0].case
    trials = [trial for trial in summary.trials if trial.case == first]
    usual = _figure(trials[0], pictures, "as it is")
    shown: dict[str, list[Trial]] = {}
    for trial in trials[1:]:
        shown.setdefault(str(trial.corruption), []).append(trial)
    for key, row in shown.items():
        corruption = CORRUPTIONS[key]
        names = STRENGTHS if len(corruption.strengths) > 1 else ("",)
        figures = "".join(_figure(trial, pictures, names[trial.severity]) for trial in row)
        why = (
            "" if corruption.undetectable is None else f"<p class=note>{escape(corruption.undetectable)}</p>"
        )
        title = f"<h3>{escape(corruption.title)}</h3>{why}"
        yield f"<section id='{key}'>{title}<div class=row>{usual}{figures}</div></section>"


def _figure(trial: Trial, pictures: Mapping[Key, str], name: str) -> str:
    address = pictures.get((trial.corruption, trial.severity))
    picture = f"<img alt='{escape(name)}' src='{address}'>" if address else "<div class=none>no picture</div>"
    is_usual = trial.corruption is None
    status = trial.finding.value
    if is_usual and trial.finding is Finding.UNNOTICED:
        status = "nothing strange"
    tone = _tone(trial)
    p = "" if trial.p is None else f" <small>p = {trial.p:.3g}</small>"
    agreement = "" if trial.agreement is None else f"<small class=dice>Dice {trial.agreement:.2f}</small>"
    return (
        f"<figure>{picture}<figcaption><em>{escape(name)}</em>{agreement}<span class='chip "
        f"{tone.value}'>{status}</span>{p}<p>{escape(trial.reason)}</p>"
        "</figcaption></figure>"
    )


def _tone(trial: Trial) -> Kind:
    """Colour of what was said of one image."""
    if trial.corruption is None:
        return Kind.SOMETIMES if trial.finding.is_noticed else Kind.NOTICED
    if trial.finding.is_noticed:
        return Kind.NOTICED
    if trial.agreement is None:
        return Kind.UNKNOWN
    return Kind.HARMLESS if trial.agreement >= HARMFUL else Kind.DANGEROUS


def _footer(summary: Summary) -> str:
    seconds = sum(trial.seconds for trial in summary.trials)
    stopped = len(summary.usual) < summary.planned
    early = f" Stopped early: {len(summary.usual)} of {summary.planned} cases were begun." if stopped else ""
    return (
        f"<footer>{len(summary.trials)} answers in {seconds / 60:.1f} minutes.{early} Every image is in "
        "stress.csv, everything in stress.json. A damage that is noticed here may go unnoticed in another "
        "image: this is a test with examples, not a guarantee.</footer>"
    )
