"""What the commands print."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from nnunet_losses.ending import ExitCode

from .batch import Stopped, exit_code
from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .answer import Answer
    from .batch import Batch, Result
    from .errors import Refusal
    from .formats import Case, Incomplete

STYLES = {"segmented": "green", "empty": "cyan", "rejected": "yellow", "failed": "red"}


def run_with_progress(batch: Batch, cases: Sequence[Case | Incomplete]) -> list[Result]:
    """Answer cases under a progress bar on the error stream: cases, and the tiles of the present one.

    Raises:
        Stopped: Ctrl-C was pressed; what was begun has been written to its end.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        all_cases = progress.add_task("cases", total=len(cases))
        tiles = progress.add_task("tiles", total=None)
        results: list[Result] = []

        def count(done: int, total: int) -> None:
            progress.update(tiles, completed=done, total=total)

        try:
            with closing(batch.run(cases, progress=count)) as running:
                for result in running:
                    results.append(result)
                    progress.advance(all_cases)
        except KeyboardInterrupt:
            raise Stopped(results) from None
    return results


@contextmanager
def bench_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar over a benchmark's runs on the error stream; give the function that announces each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda name, done, total: progress.update(task, description=name, completed=done, total=total)


def report(results: Sequence[Result], *, as_json: bool) -> int:
    """Print what became of the cases; returns the exit code of the run."""
    code = exit_code(results)
    if as_json:
        print_json({"exit_code": code, "cases": [result.as_json() for result in results]})
    else:
        Console().print(_summary(results))
    return code


def report_stopped(stopped: Stopped, *, as_json: bool) -> int:
    """Print what was answered before Ctrl-C; returns the exit code."""
    report(stopped.results, as_json=as_json)
    Console(stderr=True).print(
        "Stopped. What the output folder holds is whole; run with --no-overwrite to go on."
    )
    return ExitCode.INTERRUPTED


def print_json(content: Any) -> None:
    """Print JSON to the standard output, unwrapped."""
    print(json.dumps(content, indent=2, ensure_ascii=False))  # noqa: T201 - it is the command's output


def print_refusal(refusal: Refusal, *, as_json: bool) -> None:
    """Say why nothing was done: on the error stream, or as JSON."""
    if as_json:
        print_json({"problem": problem_of(refusal).model_dump()})
        return
    console = Console(stderr=True)
    console.print(f"[red]{refusal.code.value}[/]: {escape(refusal.detail)}", soft_wrap=True)
    console.print(escape(refusal.remedy), soft_wrap=True)


def _summary(results: Sequence[Result]) -> Table:
    table = Table(title=f"{len(results)} case" + ("" if len(results) == 1 else "s"))
    for heading in ("case", "outcome", "labels", "remarks"):
        table.add_column(heading, overflow="fold")
    for result in results:
        table.add_row(*_row(result))
    return table


def _row(result: Result) -> tuple[str, str, str, str]:
    if result.written is None:
        assert result.refusal is not None, "a case has an answer or a problem"
        return escape(result.case), _styled("failed"), "", escape(_problem(result.refusal))
    answer = result.written.answer
    return (
        escape(result.case),
        _styled(answer.outcome.value) + (" (kept)" if result.kept else ""),
        escape(_labels(answer)),
        escape(_remarks(answer)),
    )


def _styled(outcome: str) -> str:
    return f"[{STYLES.get(outcome, 'default')}]{outcome}[/]"


def _problem(refusal: Refusal) -> str:
    return f"{refusal.code.value}: {refusal.detail}"


def _labels(answer: Answer) -> str:
    return "\n".join(
        f"{label.name}: {_amount(label.voxels, label.volume_ml)}, {_parts(label.components)}"
        for label in answer.labels
        if label.present
    )


def _parts(components: int) -> str:
    return "1 part" if components == 1 else f"{components:,} parts"


def _amount(voxels: int, volume_ml: float | None) -> str:
    return f"{voxels:,} pixels" if volume_ml is None else f"{volume_ml:.4g} ml"


def _remarks(answer: Answer) -> str:
    problem = [] if answer.problem is None else [f"{answer.problem.code}: {answer.problem.detail}"]
    return "\n".join([*problem, *(f"{warning.code}: {warning.message}" for warning in answer.warnings)])
