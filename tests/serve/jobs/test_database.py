"""URLs, versions, and a database that is locked, full, damaged or absent."""

from __future__ import annotations

import sqlite3
import sys
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text, update

from nnunet_losses.serve.jobs.database import Database, parse_url
from nnunet_losses.serve.jobs.errors import JobCode
from nnunet_losses.serve.jobs.queue import JobQueue
from nnunet_losses.serve.jobs.tables import QUEUE, SCHEMA_VERSION

from .helpers import LIMITS, refused, submit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite"


@pytest.fixture
def impatient(file: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{file}", patience=0.1)
    yield database
    database.close()


@pytest.mark.parametrize(
    "wrong",
    ["", "jobs.sqlite", "mysql://root:secret@host/jobs", "sqlite://", "sqlite:///:memory:", "redis://host"],
)
def test_wrong_urls(wrong: str) -> None:
    with refused(JobCode.STORAGE_URL) as caught:
        Database(wrong)
    assert "secret" not in str(caught.value)
    assert "sqlite:///" in caught.value.remedy


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_schemes_of_postgresql(scheme: str) -> None:
    assert parse_url(f"{scheme}://user@host/name").drivername == "postgresql+psycopg"


def test_other_version(url: str, database: Database) -> None:
    with database.writing() as connection:
        connection.execute(update(QUEUE).values(version=99))
    with refused(JobCode.STORAGE_SCHEMA) as caught:
        Database(url)
    assert (caught.value.observed, caught.value.expected) == (99, SCHEMA_VERSION)


def test_exceptions_undo_everything(database: Database, queue: JobQueue) -> None:
    submit(queue)
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.execute(text("DELETE FROM jobs")).rowcount / 0
    assert queue.counts().totals["accepted"] == sum(queue.counts().by_state.values()) == 1


def test_own_clocks_agree(url: str) -> None:
    database = Database(url)
    with database.reading() as connection:
        before, now, after = time.time(), database.now(connection), time.time()
    assert before - 5 < now < after + 5
    database.close()


def test_reading_goes_on_while_somebody_writes(queue: JobQueue, database: Database) -> None:
    job = submit(queue)
    with database.writing() as connection:
        connection.execute(text("UPDATE jobs SET attempt = 7"))
        assert queue.get(job).attempt == 0
    assert queue.get(job).attempt == 7


def test_writers_wait_for_each_other(url: str, database: Database) -> None:
    impatient = Database(url, patience=0.1)
    with database.writing(), refused(JobCode.STORAGE_BUSY) as caught:
        submit(JobQueue(impatient, LIMITS))
    assert caught.value.retry_after is not None
    submit(JobQueue(impatient, LIMITS))
    impatient.close()


def test_locked_by_a_stranger(file: Path, impatient: Database) -> None:
    stranger = sqlite3.connect(file)
    stranger.execute("BEGIN IMMEDIATE")
    with refused(JobCode.STORAGE_BUSY):
        submit(JobQueue(impatient))
    stranger.close()
    submit(JobQueue(impatient))


def test_full_disk(impatient: Database) -> None:
    """A submission that does not fit is refused whole; what was accepted stays."""
    queue = JobQueue(impatient, LIMITS)
    first = submit(queue)
    with impatient.reading() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with refused(JobCode.STORAGE_FULL):
        submit(queue, parameters={"text": "x" * 60_000})
    assert queue.get(first).id == first
    assert queue.counts().totals["accepted"] == 1


def test_damaged_file(file: Path) -> None:
    file.write_bytes(b"This is no database." * 100)
    with refused(JobCode.STORAGE_UNAVAILABLE) as caught:
        Database(f"sqlite:///{file}")
    assert caught.value.observed == "SQLITE_NOTADB"


def test_absent_folder(tmp_path: Path) -> None:
    with refused(JobCode.STORAGE_UNAVAILABLE) as caught:
        Database(f"sqlite:///{tmp_path}/absent/jobs.sqlite")
    assert str(tmp_path) not in str(caught.value)


def test_absent_server(tmp_path: Path) -> None:
    with refused(JobCode.STORAGE_UNAVAILABLE) as caught:
        Database(f"postgresql://user:secret@/jobs?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_driver_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with refused(JobCode.STORAGE_UNAVAILABLE) as caught:
        Database("postgresql://user@host/jobs")
    assert 'pip install "psycopg[binary]>' in caught.value.remedy


def test_sqlite_survives_power_cuts(impatient: Database) -> None:
    with impatient.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2  # FULL
    for durable, level in ((True, 2), (False, 1), (True, 2)):
        with impatient.writing(durable=durable) as connection:
            assert connection.execute(text("PRAGMA synchronous")).scalar_one() == level
