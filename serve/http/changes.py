"""Whoever waits for a job is woken when a worker says that something happened to it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Self


class Changes:
    """Announcements from any thread to waiting coroutines of one event loop.

    Announcements may get lost (a worker of another server makes none): a wait has an end of its own.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    def open(self) -> None:
        """Begin; to be called in the event loop."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End: later announcements are not heard."""
        self._loop = None

    def announce(self, job_id: str) -> None:
        """Wake who waits for the job. From any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._wake, job_id)

    def _wake(self, job_id: str) -> None:
        for event in self._waiting.get(job_id, ()):
            event.set()

    def listen(self, job_id: str) -> Listener:
        """Take part in the announcements about a job, within a ``with`` statement."""
        return Listener(self._waiting, job_id)


class Listener:
    """Hears of one job. What is announced between two waits ends the second one at once."""

    def __init__(self, waiting: dict[str, set[asyncio.Event]], job_id: str) -> None:
        self._waiting = waiting
        self._job_id = job_id
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._waiting[self._job_id].add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting[self._job_id].discard(self._event)
        if not self._waiting[self._job_id]:
            del self._waiting[self._job_id]

    async def wait(self, seconds: float) -> None:
        """Return at the next announcement, or after some seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()
