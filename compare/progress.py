"""A live table of the cells: what each does, how far it is, how long the rest takes."""

from __future__ import annotations

import math
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from .results import read_failure, read_progress, read_result

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    from .results import Progress
    from .study import Cell, Study

_EVERY = 2.0  # seconds
_QUIET = 60.0  # seconds between lines where there is no terminal
_SHOWN = 30  # rows


@contextmanager
def live(output: Path, study: Study, console: Console) -> Iterator[None]:
    """Show the table while the block runs; without a terminal, print a line now and then."""
    ended = threading.Event()
    show = _show if console.is_terminal else _print_lines
    thread = threading.Thread(target=show, args=(output, study, console, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def table(output: Path, study: Study) -> Table:
    """Lay out the state of all cells."""
    states = {cell: state_of(output, cell) for cell in study.cells}
    done = sum(state.done for state in states.values())
    result = Table(
        title=f"{done} of {len(states)} cells done, {describe(time_left(list(states.values())))} left"
    )
    for heading in ("loss", "fold", "seed", "state", "epoch", "s per epoch"):
        result.add_column(heading, justify="left" if heading in ("loss", "state") else "right")
    shown = sorted(states, key=lambda cell: states[cell].rank)[:_SHOWN]
    for cell in shown:
        state = states[cell]
        seconds = f"{state.seconds:.1f}" if state.seconds else ""
        epoch = f"{state.epoch}/{state.epochs}" if state.epochs and not state.done else ""
        result.add_row(escape(cell.loss), str(cell.fold), str(cell.seed), escape(state.words), epoch, seconds)
    if len(states) > _SHOWN:
        result.caption = f"and {len(states) - _SHOWN} more"
    return result


class State:
    """What a cell is doing."""

    def __init__(self, words: str, progress: Progress | None, *, done: bool, rank: int) -> None:
        self.words = words
        self.done = done
        self.rank = rank
        self.epoch = progress.epoch if progress else 0
        self.epochs = progress.epochs if progress else 0
        self.seconds = progress.seconds if progress else 0.0

    @property
    def open_epochs(self) -> int:
        """How many are still to be trained; a cell that has not begun counts as long as the longest."""
        return 0 if self.done or self.rank == 2 else max(self.epochs - self.epoch, 0)


def state_of(output: Path, cell: Cell) -> State:
    """Read the state of a cell from its folder."""
    folder = cell.folder(output)
    progress = read_progress(folder)
    if (folder / "result.json").is_file() and read_result(folder) is not None:
        return State("done", progress, done=True, rank=3)
    failure = read_failure(folder)
    if failure is not None:
        return State(f"failed: {failure.reason[:80]}", progress, done=False, rank=2)
    if progress is None:
        return State("waiting", None, done=False, rank=1)
    return State(progress.stage, progress, done=False, rank=0)


def time_left(states: list[State]) -> float:
    """Seconds until all are done, at the present pace; NaN before any epoch has ended.

    Counts trained epochs only: predictions and scores of waiting cells are on top.
    """
    paces = [state.seconds for state in states if state.seconds]
    running = [state for state in states if state.rank == 0]
    if not paces:
        return math.nan
    epochs = max((state.epochs for state in states), default=0)
    waiting = sum(state.rank == 1 for state in states) * epochs
    left = waiting + sum(state.open_epochs for state in running)
    return left * sum(paces) / len(paces) / max(len(running), 1)


def describe(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> describe(50), describe(3700), describe(float("nan"))
        ('50 s', '1 h 02 min', 'an unknown time')
    """
    if math.isnan(seconds):
        return "an unknown time"
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _show(output: Path, study: Study, console: Console, ended: threading.Event) -> None:
    with Live(table(output, study), console=console, auto_refresh=False) as shown:
        while not ended.wait(_EVERY):
            shown.update(table(output, study), refresh=True)
        shown.update(table(output, study), refresh=True)


def _print_lines(output: Path, study: Study, console: Console, ended: threading.Event) -> None:
    while not ended.wait(_QUIET):
        states = [state_of(output, cell) for cell in study.cells]
        running = [f"{cell.name} {state.words} {state.epoch}/{state.epochs}"
                   for cell, state in zip(study.cells, states, strict=True) if state.rank == 0]  # fmt: skip
        done = sum(state.done for state in states)
        left = describe(time_left(states))
        words = f"{time.strftime('%H:%M:%S')} {done}/{len(states)} done, {left} left: {'; '.join(running)}"
        console.print(escape(words), soft_wrap=True)
