"""What jobs stand on: one database, one folder for what came in and one for what came out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from .artifacts import FolderStore
from .database import Database
from .housekeeping import Housekeeper
from .leases import LeaseDesk
from .limits import QueueLimits
from .queue import JobQueue

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Ground:
    """An opened database with its two stores.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     ground = Ground.open(Path(folder))
        ...     print(ground.queue.counts().totals["accepted"])
        ...     ground.close()
        0
    """

    folder: Path
    url: str | None
    database: Database
    inputs: FolderStore
    artifacts: FolderStore
    limits: QueueLimits

    @classmethod
    def open(cls, folder: Path, *, url: str | None = None, limits: QueueLimits | None = None) -> Self:
        """Open the database and the stores; make what is absent.

        Args:
            folder: of the files; readable by its owner only.
            url: of the database; None keeps it in ``folder``, too.
            limits: bounds of the queue.

        Raises:
            JobRefusal: a code ``storage...``.
            OSError: the folder cannot be used.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = Database(url or f"sqlite:///{folder.resolve()}/jobs.sqlite")
        inputs, artifacts = FolderStore(folder / "inputs"), FolderStore(folder / "artifacts")
        return cls(folder, url, database, inputs, artifacts, limits or QueueLimits())

    @property
    def queue(self) -> JobQueue:
        """The clients' side."""
        return JobQueue(self.database, self.limits)

    @property
    def desk(self) -> LeaseDesk:
        """The workers' side."""
        return LeaseDesk(self.database, self.limits)

    @property
    def housekeeper(self) -> Housekeeper:
        """Who cleans up."""
        return Housekeeper(self.database, artifacts=self.artifacts, inputs=self.inputs, limits=self.limits)

    def close(self) -> None:
        """Close the database."""
        self.database.close()
