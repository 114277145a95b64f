"""Every test of the queue runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.jobs.artifacts import FolderStore
from nnunet_losses.serve.jobs.database import Database
from nnunet_losses.serve.jobs.leases import LeaseDesk
from nnunet_losses.serve.jobs.queue import JobQueue

from ...conftest import require
from .helpers import LIMITS, FakeClock
from .postgresql import create_schema, find_programs, running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    programs = find_programs()
    require(programs, "PostgreSQL (initdb) is not installed")
    assert programs is not None
    with running_server(programs) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database, or schema, without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.sqlite"
    return create_schema(request.getfixturevalue("postgresql"), f"test_{next(_numbers)}")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database(url: str, clock: FakeClock) -> Iterator[Database]:
    opened = Database(url, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def queue(database: Database) -> JobQueue:
    return JobQueue(database, LIMITS)


@pytest.fixture
def desk(database: Database) -> LeaseDesk:
    return LeaseDesk(database, LIMITS)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")
