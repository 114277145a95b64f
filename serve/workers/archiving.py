"""A job's way from an archive, and back to one."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ..answer import Answer, EmptyMeaning, Outcome, Push, PushState
from ..logs import log_event
from ..outputs import OutputKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..dicomweb import Archives, Source
    from ..jobs.task import Task
    from .engine import Order, Segmentation

PUSHED = (OutputKind.SEG.value, OutputKind.RTSTRUCT.value)


class Errand:
    """What one job has to do with archives.

    Args:
        order: what is to be done.
        task: the attempt.
        archives: of the operator.
    """

    def __init__(self, order: Order, task: Task, archives: Archives) -> None:
        self._order = order
        self._task = task
        self._archives = archives
        self._seconds: dict[str, float] = {}

    def fetch(self, source: Source) -> tuple[Path, ...]:
        """Fetch the job's series into its own folder, where nothing is published.

        Returns:
            A folder for each channel.

        Raises:
            Refusal: the archive has them not, or does not answer.
            TaskInterrupted: somebody wants the job to stop.
        """
        with self._stage("fetch") as go_on:
            return self._archives.fetch(source, self._task.output.scratch(), check=go_on)

    def deliver(self, made: Segmentation) -> Segmentation:
        """Store the DICOM objects, if that is wanted, and say so in the answer; no result is lost by it.

        Raises:
            TaskInterrupted: somebody wants the job to stop.
        """
        if self._order.push is not None:
            with self._stage("push") as go_on:
                push = self._push(self._order.push, made, go_on)
            made = replace(made, answer=made.answer.model_copy(update={"push": push}))
        return replace(made, answer=self._timed(made.answer)) if self._seconds else made

    def _push(self, archive: str, made: Segmentation, go_on: Callable[[], None]) -> Push:
        files = {kind: made.more[kind].path for kind in PUSHED if kind in made.more}
        if not files or not _may_be_read_alone(made.answer):
            return Push(archive=archive, state=PushState.WITHHELD)
        push = self._archives.push(archive, files, check=go_on)
        code = None if push.problem is None else push.problem.code
        log_event("job.pushed", job=self._task.job.id, archive=archive, state=push.state.value, code=code)
        return push

    @contextmanager
    def _stage(self, name: str) -> Iterator[Callable[[], None]]:
        """Give what is to be called now and then; it hears of a cancellation as soon as a tile would."""

        def go_on() -> None:
            self._task.progress(name, 0, 1)

        go_on()
        began = time.monotonic()
        yield go_on
        self._seconds[name] = round(time.monotonic() - began, 4)

    def _timed(self, answer: Answer) -> Answer:
        timings = answer.manifest.timings | self._seconds
        manifest = answer.manifest.model_copy(update={"timings": timings})
        return answer.model_copy(update={"manifest": manifest})


def _may_be_read_alone(answer: Answer) -> bool:
    """Whether an object without marks would be read rightly by who does not see the answer."""
    is_decided = answer.empty is None or answer.empty.meaning is EmptyMeaning.NO_FINDING
    return answer.outcome is not Outcome.REJECTED and is_decided
