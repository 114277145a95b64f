"""What the service needs of whoever runs the jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from ..jobs.ground import Ground
    from .reports import ModelReport

# Called from any thread with a job's id when something happened to the job.
Changed = Callable[[str], None]


class Predictors(Protocol):
    """Runs the jobs of a queue: ``Supervisor`` in worker processes, ``Threads`` in tests; or a cluster.

    Only references travel: jobs are claimed from the database, files lie in the stores.
    """

    def start(self, ground: Ground, changed: Changed) -> None:
        """Begin to open the models, then to claim jobs; returns at once.

        Args:
            ground: the database and the folders of the jobs.
            changed: to be told of jobs that move on; who calls it late or never only makes clients wait.
        """

    def wake(self) -> None:
        """Hear that a job waits. Who does not listen finds it a moment later."""

    def models(self) -> tuple[ModelReport, ...]:
        """Say how far the models are, over all workers."""

    def capacity(self) -> int:
        """Count the workers that are able to claim a job now."""

    def is_stopping(self) -> bool:
        """Tell whether whoever owns the workers is ending them: then no server takes jobs any more."""

    def restarts(self) -> int:
        """Count how often a worker that died was started again."""

    def reload(self, key: str) -> None:
        """Replace a model by what its bundle holds now, in all workers or in none. Slow.

        Raises:
            Refusal: why the new bundle is not served; the old one still is.
        """

    def stop(self, *, grace: float) -> None:
        """Claim nothing more, let running jobs end within so many seconds, give the others back. Slow."""
