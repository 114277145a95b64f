"""A benchmark's table and chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nnunet_losses.extras import install_command

if TYPE_CHECKING:
    from pathlib import Path

    from .bench_records import Report, Summary

STAGES = ("read", "contract", "preprocess", "network", "stitch", "labels", "postprocess", "measure", "write")
REST = "start and rest"  # imports, opening the network, the command line
UNTOLD = "whole command"  # of a contender that does not tell its stages
COLOURS = {
    "read": "#4e79a7", "contract": "#a0cbe8", "preprocess": "#f28e2b", "network": "#59a14f",
    "stitch": "#8cd17d", "labels": "#b6992d", "postprocess": "#f1ce63", "measure": "#86bcb6",
    "write": "#e15759", REST: "#bab0ac", UNTOLD: "#79706e",
}  # fmt: skip
GIBIBYTE = 2**30


class ChartImpossible(Exception):  # noqa: N818 - says what lacks
    """No chart can be drawn: matplotlib is not installed."""


def print_report(report: Report) -> None:
    """Print the table, the machine and the remarks to the standard output."""
    console = Console()
    console.print(_table(report))
    machine = report.machine
    memory = f", {machine['memory_bytes'] / GIBIBYTE:.0f} GiB" if machine["memory_bytes"] else ""
    console.print(
        f"{machine['processor']}, {machine['cores_used']} of {machine['cores_of_machine']} cores{memory}; "
        f"load {_loads(report)}",
        highlight=False,
    )
    for remark in report.remarks:
        console.print(remark, highlight=False)
    for summary in report.summaries:
        if summary.failure:
            console.print(f"[red]{escape(summary.contender)}[/]: {escape(summary.failure)}", highlight=False)


def _loads(report: Report) -> str:
    loads = [run.load for run in report.runs if run.load is not None]
    return f"{min(loads):.1f} to {max(loads):.1f}" if loads else "unknown"


def _table(report: Report) -> Table:
    cases = f"{report.cases} case" + ("" if report.cases == 1 else "s")
    table = Table(title=f"{report.bundle}: {cases}, {report.repeats} runs each, seconds")
    table.add_column("")
    for summary in report.summaries:
        table.add_column(escape(summary.contender), justify="right", overflow="fold")
    for name, values in _rows(report):
        table.add_row(name, *values, end_section=name in ("runs", "whole", REST))
    return table


def _rows(report: Report) -> list[tuple[str, list[str]]]:
    every = report.summaries
    rows = [
        ("engine", [summary.engine or "-" for summary in every]),
        ("runs", [str(summary.runs) for summary in every]),
        ("whole", [_seconds(summary.seconds) for summary in every]),
        ("fastest to slowest", [_span(summary) for summary in every]),
    ]
    parts = [seconds_by_part(summary) for summary in every]
    rows += [
        (f"  {part}" if part != REST else REST, [_seconds(one.get(part)) for one in parts])
        for part in (*STAGES, REST)
        if any(part in one for one in parts)
    ]
    rows += [
        ("tiles", [str(summary.tiles or "-") for summary in every]),
        ("per forward pass", [_seconds(summary.seconds_per_forward_pass) for summary in every]),
        ("peak memory", [_gibibytes(summary.peak_bytes) for summary in every]),
    ]
    if report.reference is not None:
        rows.append(("times faster", [_factor(summary.times_faster) for summary in every]))
        rows.append(("differing voxels", [_voxels(summary, report.voxels) for summary in every]))
    return rows


def seconds_by_part(summary: Summary) -> dict[str, float]:
    """Seconds by stage, and of what is left of the whole; nothing for one that does not tell or failed."""
    if summary.seconds is None or not summary.stages:
        return {}
    known = {stage: summary.stages[stage] for stage in STAGES if stage in summary.stages}
    return known | {REST: max(0.0, summary.seconds - sum(known.values()))}


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _span(summary: Summary) -> str:
    if summary.fastest is None or summary.slowest is None:
        return "-"
    return f"{summary.fastest:.2f} to {summary.slowest:.2f}"


def _gibibytes(value: float | None) -> str:
    return "-" if value is None else f"{value / GIBIBYTE:.2f} GiB"


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _voxels(summary: Summary, voxels: int) -> str:
    return "-" if summary.differing_voxels is None else f"{summary.differing_voxels:,} of {voxels:,}"


def draw_chart(report: Report, file: Path) -> None:
    """Draw stacked bars of the stages; the file's ending chooses SVG, PNG or PDF.

    Raises:
        ChartImpossible: matplotlib is not installed.
        ValueError: an ending that matplotlib does not know.
        OSError: the file cannot be written.
    """
    require_chart()
    from matplotlib.figure import Figure  # noqa: PLC0415 - optional, and slow to import

    shown = [summary for summary in report.summaries if summary.seconds is not None]
    figure = Figure(figsize=(9, 1.6 + 0.6 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for part in (*STAGES, REST, UNTOLD):
        _draw_part(axes, shown, part)
    axes.set_yticks(range(len(shown)), [summary.contender for summary in shown])
    axes.invert_yaxis()
    for position, summary in enumerate(shown):
        axes.text(sum(_parts(summary).values()), position, f" {summary.seconds:.2f} s", va="center")
    axes.margins(x=0.12)
    axes.set_xlabel(f"seconds, median of {report.repeats} runs; load {_loads(report)}")
    axes.set_title(f"{report.machine['processor']}, {report.machine['cores_used']} cores", fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=6, frameon=False, fontsize="small")
    figure.savefig(file)


def require_chart() -> None:
    """Say at once that there will be no chart.

    Raises:
        ChartImpossible: matplotlib is not installed.
    """
    from importlib.util import find_spec  # noqa: PLC0415

    if find_spec("matplotlib") is None:
        raise ChartImpossible(f"A chart needs matplotlib. Install it with: {install_command('bench')}")


def _parts(summary: Summary) -> dict[str, float]:
    assert summary.seconds is not None, "only what came to its end is shown"
    return seconds_by_part(summary) or {UNTOLD: summary.seconds}


def _draw_part(axes: Any, shown: list[Summary], part: str) -> None:
    widths = [_parts(summary).get(part, 0.0) for summary in shown]
    if not any(widths):
        return
    before = [_before(summary, part) for summary in shown]
    axes.barh(range(len(shown)), widths, left=before, color=COLOURS[part], label=part, height=0.65)


def _before(summary: Summary, part: str) -> float:
    order = (*STAGES, REST, UNTOLD)
    parts = _parts(summary)
    return sum(parts.get(earlier, 0.0) for earlier in order[: order.index(part)])
