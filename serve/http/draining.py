"""What a signal does: first the jobs come to an end, then the server."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from types import FrameType

    from .job_service import JobService


class DrainingServer(uvicorn.Server):
    """At the first SIGTERM or SIGINT it is not ready any more and takes no jobs, but still answers questions.

    Running jobs may end within the grace, and are given back to the queue otherwise; then it stops. A second
    signal stops it at once.
    """

    _drainer: threading.Thread | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See ``uvicorn.Server``."""
        if self._drainer is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        self._drainer = threading.Thread(target=self._drain, args=(sig, frame), name="drain", daemon=True)
        self._drainer.start()

    def _drain(self, sig: int, frame: FrameType | None) -> None:
        jobs: JobService = self.config.app.state.jobs  # type: ignore[union-attr] # create_app's
        try:
            jobs.drain()
        finally:
            super().handle_exit(sig, frame)
