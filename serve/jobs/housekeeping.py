"""What must happen now and then, whoever does it: lost jobs back, old jobs away, stray folders away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import select

from ..schema import Frozen
from .leases import LeaseDesk, purge_finished
from .limits import QueueLimits
from .states import FINAL
from .tables import ARTIFACTS, JOBS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .artifacts import FolderStore
    from .database import Clock, Database

_UNCLAIMED_SECONDS = 3600  # an upload whose job is not accepted by then never will be


class Cleaning(Frozen):
    """What a round of housekeeping did."""

    recovered: int  # jobs of lost workers
    purged: int  # finished jobs past their retention
    removed: int  # folders that no job needs


class Housekeeper:
    """Run it every minute or so, in as many processes as there are; rounds do not disturb each other.

    Input folders go as soon as their job is finished; artifacts stay until the retention ends.

    Args:
        database: the jobs.
        artifacts: what jobs produced.
        inputs: what clients sent.
        limits: says how long finished jobs stay.
        file_clock: the clock of the files' times, seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        *,
        artifacts: FolderStore,
        inputs: FolderStore,
        limits: QueueLimits | None = None,
        file_clock: Clock = time.time,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._inputs = inputs
        self._limits = limits or QueueLimits()
        self._file_clock = file_clock

    def run(self) -> Cleaning:
        """Do one round.

        Raises:
            JobRefusal: a code ``storage...``; the next round does what this one left.
        """
        recovered = LeaseDesk(self._database, self._limits).recover()
        with self._database.writing() as connection:
            done_with = _input_folders(connection, finished=True)  # before their jobs are forgotten
            purged = purge_finished(connection, limits=self._limits, now=self._database.now(connection))
        removed = self._sweep_artifacts() + self._sweep_inputs(done_with)
        return Cleaning(recovered=len(recovered), purged=purged, removed=removed)

    def _sweep_artifacts(self) -> int:
        """Folders are listed first: one that appears later has a lease, or had one."""
        stray = self._artifacts.tokens()
        with self._database.reading() as connection:
            stray -= _artifact_folders(connection)
        self._artifacts.remove(stray)
        return len(stray)

    def _sweep_inputs(self, done_with: frozenset[str]) -> int:
        stray = self._inputs.tokens(changed_before=self._file_clock() - _UNCLAIMED_SECONDS)
        with self._database.reading() as connection:
            finished = _input_folders(connection, finished=True) | done_with
            stray = (stray | (self._inputs.tokens() & finished)) - _input_folders(connection, finished=False)
        self._inputs.remove(stray)
        return len(stray)


def _artifact_folders(connection: Connection) -> frozenset[str]:
    held = select(JOBS.c.lease_token).where(JOBS.c.lease_token.is_not(None))
    visible = select(ARTIFACTS.c.folder)
    return frozenset(connection.execute(held.union(visible)).scalars())


def _input_folders(connection: Connection, *, finished: bool) -> frozenset[str]:
    is_final = JOBS.c.state.in_(FINAL)
    wanted = is_final if finished else ~is_final
    query = select(JOBS.c.input_folder).where(JOBS.c.input_folder.is_not(None), wanted)
    return frozenset(connection.execute(query).scalars())
