"""The database under the queue: SQLite in a file, or PostgreSQL by URL.

All writing transactions of one database follow each other (``BEGIN IMMEDIATE``; an advisory lock), so that
bounds, turns and numbers are exact and the same on both. They are a few statements long; jobs take seconds.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from nnunet_losses.extras import install_command

from .errors import JobCode, JobRefusal
from .storage_errors import refusal_of
from .tables import create_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

    Clock = Callable[[], float]  # seconds since 1970

_LOCK = 0x6E6E55  # PostgreSQL's advisory lock of all writers; any constant number does
_POSTGRESQL = "postgresql+psycopg"
_SNAPSHOT: Any = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_SCHEMES = {"sqlite": "sqlite+pysqlite", "postgresql": _POSTGRESQL, "postgres": _POSTGRESQL}


class Database:
    """An opened job database; its tables are made if it has none. Safe to use from several threads.

    Args:
        url: ``sqlite:////var/lib/segmentation/jobs.sqlite`` or ``postgresql://user:password@host/name``.
        clock: seconds since 1970. By default PostgreSQL's own, which all servers share, else this machine's.
        patience: seconds that a transaction waits for another.

    Raises:
        JobRefusal: ``storage.url``, ``storage.unavailable``, ``storage.busy`` or ``storage.schema``.
    """

    def __init__(self, url: str, *, clock: Clock | None = None, patience: float = 10.0) -> None:
        parsed = parse_url(url)
        self._clock = clock
        self._patience = patience
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        with _translated():
            self._engine = self._open_sqlite(parsed) if self._is_sqlite else self._open_postgresql(parsed)
            self._reader = self._engine if self._is_sqlite else self._engine.execution_options(**_SNAPSHOT)
        try:
            with self.writing() as connection:
                create_schema(connection)
        except JobRefusal:
            self.close()
            raise

    def _open_sqlite(self, url: URL) -> Engine:
        engine = create_engine(url, connect_args={"timeout": self._patience})

        @event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _record: Any) -> None:
            connection.isolation_level = None  # transactions begin where this module says so
            _use_write_ahead_log(connection, patience=self._patience)
            connection.execute("PRAGMA foreign_keys=ON")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            options = connection.get_execution_options()
            if not options.get("writes", False):
                connection.exec_driver_sql("BEGIN")
                return
            # FULL: a commit survives a power cut. NORMAL: it survives all that may befall this process.
            connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options['durable'] else 'NORMAL'}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        return engine

    def _open_postgresql(self, url: URL) -> Engine:
        patience = f"{int(self._patience * 1000)}ms"
        given = url.query.get("options", "")  # of the operator: a search_path, for example
        options = f"-c lock_timeout={patience} -c idle_in_transaction_session_timeout=60s {given}"
        arguments: dict[str, Any] = {"options": options}
        if "connect_timeout" not in url.query:
            arguments["connect_timeout"] = max(2, int(self._patience))
        return create_engine(url, connect_args=arguments, pool_pre_ping=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads, at one point in time; it never waits for a writer."""
        with _translated(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """Open the one transaction that writes; commit it at the end, undo it upon an exception.

        Args:
            durable: whether the commit must survive a power cut, for which the disk is waited for. What is
                not durable (how far a running job is) survives the death of every process, and is never
                undone alone: what is committed later, and survives, brings it along.
        """
        with (
            _translated(),
            self._engine.connect().execution_options(writes=True, durable=durable) as connection,
            connection.begin(),
        ):
            if not self._is_sqlite:
                if not durable:
                    connection.execute(text("SET LOCAL synchronous_commit TO off"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield connection

    def now(self, connection: Connection) -> float:
        """Tell the time by which leases and retention are judged."""
        if self._clock is not None:
            return self._clock()
        if self._is_sqlite:
            return time.time()
        return float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def parse_url(url: str) -> URL:
    """Read a database URL, with the driver that this package brings.

    Raises:
        JobRefusal: ``storage.url``. It never quotes the URL, which may hold a password.

    Example:
        >>> parse_url("postgresql://nobody@localhost/jobs").drivername
        'postgresql+psycopg'
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _wrong_url("The job database's URL is not a URL.") from error
    driver = _SCHEMES.get(parsed.drivername, parsed.drivername)
    if driver not in _SCHEMES.values():
        raise _wrong_url(f"The job database's URL begins with {parsed.drivername!r}.", parsed.drivername)
    if driver.startswith("sqlite") and parsed.database in {None, "", ":memory:"}:
        raise _wrong_url("The job database would lie in memory, and no other process would see it.")
    return parsed.set(drivername=driver)


def _wrong_url(detail: str, observed: str | None = None) -> JobRefusal:
    return JobRefusal(
        JobCode.STORAGE_URL,
        detail,
        remedy="Use sqlite:////folder/jobs.sqlite or postgresql://user:password@host/name.",
        observed=observed,
        expected=["sqlite", "postgresql"],
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise refusal_of(error) from error
    except ModuleNotFoundError as error:
        raise JobRefusal(
            JobCode.STORAGE_UNAVAILABLE,
            f"The module {error.name} for PostgreSQL is not installed.",
            remedy=f"Install it with: {install_command('postgres')}",
        ) from error


def _use_write_ahead_log(connection: sqlite3.Connection, *, patience: float) -> None:
    """Switch a fresh file over. SQLite's own timeout does not cover two processes that do so at once."""
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return
