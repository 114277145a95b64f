"""What ``nnunet-losses stress`` prints."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from nnunet_losses.serve.console import print_json

from .suite import SUITE
from .summary import sentences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .run import StressTest


@contextmanager
def progress_bar(cases: int) -> Iterator[Callable[[int, int, int, str], None]]:
    """Show a bar on the error stream; give the function that moves it."""
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(),
               TimeRemainingColumn(), TextColumn("{task.description}"))  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=cases)

        def move(done: int, total: int, case: int, what: str) -> None:
            progress.update(task, completed=case + done / total, description=escape(what))

        yield move


def list_corruptions() -> int:
    """Print all damages; returns the exit code."""
    table = Table("key", "what it is", "kind", "strengths")
    for corruption in SUITE:
        graded = len(corruption.strengths) > 1
        strengths = ", ".join(map(str, corruption.strengths)) if graded else ""
        table.add_row(corruption.key, corruption.title, corruption.family.value, strengths)
    Console().print(table)
    return 0


def print_result(test: StressTest, page: Path, *, as_json: bool) -> None:
    """Say in plain words what came out, and where the report is."""
    for name, refusal in test.unreadable:
        Console(stderr=True).print(f"[yellow]{escape(name)}[/] was left out: {escape(refusal.detail)}")
    if as_json:
        print_json(test.summary().as_json())
        return
    console = Console()
    for sentence in sentences(test.summary()):
        console.print(escape(sentence), highlight=False)
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)
