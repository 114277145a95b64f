"""Workers in threads of this process, for tests: a crash of the network would take all along."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..jobs.ledger import new_token
from .loop import Listeners, WorkerLoop
from .reports import merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..dicomweb import Archives
    from ..jobs.ground import Ground
    from ..jobs.worker import WorkerTiming
    from .engine import Opener
    from .job_spans import JobSpans
    from .predictors import Changed
    from .reports import ModelReport


class Threads:
    """``Predictors`` in threads.

    Args:
        openers: functions that open a model each, by label; called once for each worker.
        workers: how many jobs run at once.
        timing: seconds between things.
        spans: where spans of jobs go; None for nowhere.
        archives: that series are fetched from, and results stored in; none by default.

    Raises:
        ValueError: there is nothing to serve.
    """

    def __init__(
        self,
        openers: Mapping[str, Opener],
        *,
        workers: int = 1,
        timing: WorkerTiming | None = None,
        spans: JobSpans | None = None,
        archives: Archives | None = None,
    ) -> None:
        if not openers:
            raise ValueError("there is nothing to serve: expected at least one model")
        self._openers = openers
        self._number = workers
        self._timing = timing
        self._spans = spans
        self._archives = archives
        self._loops: list[WorkerLoop] = []
        self._threads: list[threading.Thread] = []

    def start(self, ground: Ground, changed: Changed) -> None:
        """See ``Predictors``."""
        for index in range(self._number):
            loop = WorkerLoop(
                self._openers,
                ground,
                name=f"thread-{index}-{new_token()[:8]}",
                listeners=Listeners(changed, spans=self._spans),
                timing=self._timing,
                archives=self._archives,
            )
            self._loops.append(loop)
            self._threads.append(threading.Thread(target=loop.run, name=f"worker-{index}", daemon=True))
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """See ``Predictors``."""
        for loop in self._loops:
            loop.wake()

    def models(self) -> tuple[ModelReport, ...]:
        """See ``Predictors``."""
        return merged([loop.host.reports() for loop in self._loops])

    def capacity(self) -> int:
        """See ``Predictors``."""
        return sum(loop.claims for loop in self._loops)

    def is_stopping(self) -> bool:
        """The server owns them, and knows."""
        return False

    def restarts(self) -> int:
        """Threads do not die alone."""
        return 0

    def reload(self, key: str) -> None:
        """See ``Predictors``."""
        for loop in self._loops:
            try:
                loop.host.prepare(key)
            except Exception:
                for other in self._loops:
                    other.host.abort(key)
                raise
        for loop in self._loops:
            loop.host.commit(key)

    def stop(self, *, grace: float) -> None:
        """See ``Predictors``."""
        for loop in self._loops:
            loop.drain(grace=grace)
        for thread in self._threads:
            thread.join()
