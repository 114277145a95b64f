"""What the demonstration prints."""

from __future__ import annotations

from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from rich.columns import Columns
from rich.console import Console, Group
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .findings import pooled_dice
from .words import distinct, duration, headline, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .findings import Expectation, Model, Sent
    from .story import Findings


class Narrator:
    """Says which step runs, and how long it took."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._count = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step while it runs, and its time afterwards."""
        self._count += 1
        start = perf_counter()
        line = f"{self._count:2d}. {escape(title)}"
        if not self.console.is_terminal:  # a log file has no spinner: say what is being waited for
            self.console.print(f"{line} ...")
        with self.console.status(line):
            yield
        self.console.print(f"{line}  [green]{duration(perf_counter() - start)}[/green]")

    def report(self, findings: Findings, overview: Path) -> None:
        """Print what came back, what was measured, and whether all is as expected."""
        for sent in findings.answered:
            self.console.print(_panel(sent))
        self.console.print(_refusals(findings.refused))
        self.console.print(_parity(findings.models))
        self.console.print(_judgement(findings.expectations))
        self.console.print(f"Look at it: [bold]{overview}[/bold]", soft_wrap=True)


def _panel(sent: Sent) -> Panel:
    columns = [
        Panel(
            Group(Text(headline(reply), style="bold"), *(Text(sentence) for sentence in sentences(reply))),
            title=escape(name),
            border_style="dim",
            width=56,
        )
        for name, reply in sent.replies.items()
    ]
    return Panel(
        Columns(columns), title=f"{sent.title} ({escape(sent.case)})", title_align="left", expand=False
    )


def _refusals(refused: list[Sent]) -> Table:
    table = Table("sent", "answer", "in words", title="Files that cannot be answered", title_justify="left")
    for sent in refused:
        for title, words in distinct(sent.replies):
            table.add_row(sent.title, Text(title), Text(words))
    return table


def _parity(models: list[Model]) -> Table:
    table = Table(title="Bundle against nnU-Net's own predictor, all test cases", title_justify="left")
    for column in (
        "model",
        "tiles",
        "largest difference of a tile",
        "voxels that differ",
        "Dice with the truth",
    ):
        table.add_column(column, justify="left" if column == "model" else "right")
    for model in models:
        parity = model.parity
        table.add_row(
            model.name,
            str(parity.tiles),
            f"{parity.max_tile_difference:.1e}",
            f"{parity.differing_voxels} of {parity.voxels}",
            f"{pooled_dice(model.overlaps):.3f}",
        )
    return table


def _judgement(expectations: list[Expectation]) -> Panel:
    table = Table.grid("", "", "", padding=(0, 2))
    for item in expectations:
        style = "" if item.met else "bold red"
        table.add_row("met" if item.met else "NOT MET", Text(item.text), Text(item.detail), style=style)
    met = sum(item.met for item in expectations)
    colour = "green" if met == len(expectations) else "red"
    title = f"{met} of {len(expectations)} expectations met"
    return Panel(table, title=title, border_style=colour, title_align="left")
