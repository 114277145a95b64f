"""What ``nnunet-losses send`` prints."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nnunet_losses.ending import ExitCode

from .sending import exit_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .cases import Case
    from .records import Job
    from .sending import Sending, Sent

_STYLES = {
    "segmented": "green",
    "empty": "cyan",
    "indeterminate": "yellow",
    "rejected": "yellow",
    None: "red",
}


@contextmanager
def asking(server: str) -> Iterator[None]:
    """Say whose answer is waited for."""
    with Console(stderr=True).status(f"Asking {escape(server)}"):
        yield


def send_with_progress(sending: Sending, cases: Sequence[Case]) -> list[Sent]:
    """Send cases one after the other under a progress bar on the error stream."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    sent: list[Sent] = []
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        all_cases = progress.add_task("cases", total=len(cases))
        one = progress.add_task("sending", total=None)

        def show(job: Job) -> None:
            description, done, total = _news(job)
            progress.update(one, description=description, completed=done, total=total)

        try:
            for case in cases:
                progress.reset(one, description="sending", total=None)
                sent.append(sending.send(case, on_news=show))
                progress.advance(all_cases)
        except KeyboardInterrupt:
            console.print("Stopped. Jobs that were sent go on; repeat the command to fetch their results.")
            raise typer.Exit(ExitCode.INTERRUPTED) from None
    return sent


def _news(job: Job) -> tuple[str, int, int | None]:
    if job.state == "queued":
        return (f"waiting behind {job.position}" if job.position else "waiting"), 0, None
    if job.progress is None:
        return job.state, 0, None
    return escape(job.progress.stage), job.progress.done, job.progress.total or None


def report(sent: Sequence[Sent], *, as_json: bool) -> int:
    """Print what became of the cases; returns the exit code."""
    code = exit_code(sent)
    if as_json:
        typer.echo(json.dumps({"exit_code": code, "cases": [one.as_json() for one in sent]}, indent=2))
    else:
        Console().print(_table(sent))
    return code


def _told(sent: Sent) -> list[str]:
    """What became of the wish to store results in an archive."""
    if sent.push is None:
        return []
    if sent.push.problem is None:
        return [f"{sent.push.archive}: {sent.push.state}"]
    return [f"{sent.push.archive}: {sent.push.state}, {sent.push.problem.detail}"]


def _table(sent: Sequence[Sent]) -> Table:
    table = Table(title=f"{len(sent)} case" + ("" if len(sent) == 1 else "s"))
    for heading in ("case", "outcome", "files, or what went wrong"):
        table.add_column(heading, overflow="fold")
    for one in sent:
        told = [str(one.error)] if one.error is not None else [*map(str, one.files.values()), *_told(one)]
        remark = "\n".join(told)
        table.add_row(
            escape(one.case),
            f"[{_STYLES.get(one.outcome, 'default')}]{one.outcome or 'failed'}[/]",
            escape(remark),
        )
    return table
