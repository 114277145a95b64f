"""The tables, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
)

from .errors import JobCode, JobRefusal
from .states import JobState

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Raised by every change below: a program never works on tables that it does not know.
SCHEMA_VERSION = 4
METADATA = MetaData()
_BIG = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only in its own integer

# One row. ``turn`` is the highest turn that was ever claimed: see admission.py.
QUEUE = Table("job_queue", METADATA, Column("version", Integer, primary_key=True), Column("turn", _BIG))

JOBS = Table(
    "jobs",
    METADATA,
    Column("number", _BIG, primary_key=True, autoincrement=True),  # order of acceptance
    Column("id", String(32), nullable=False, unique=True),
    Column("caller", String(128), nullable=False),
    Column("turn", _BIG, nullable=False),
    Column("state", String(16), nullable=False),
    Column("request_sha256", String(64), nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("input_folder", String(32)),
    Column("idempotency_key", String(255)),
    Column("traceparent", String(55)),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("finished", Double),
    Column("attempt", Integer, nullable=False, default=0),
    Column("worker", String(128)),
    Column("lease_token", String(32)),
    Column("lease_expires", Double),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("progress", JSON(none_as_null=True)),
    Column("failure", JSON(none_as_null=True)),
    Column("result", JSON(none_as_null=True)),
    Column("last_event", Integer, nullable=False, default=0),
    UniqueConstraint("caller", "idempotency_key"),
    CheckConstraint("state IN ({})".format(", ".join(f"'{state}'" for state in JobState)), "known_state"),
    CheckConstraint("(state = 'running') = (lease_token IS NOT NULL)", "lease_while_running"),
    Index("jobs_next", "state", "turn", "number"),
    Index("jobs_of_caller", "caller", "state"),
    Index("jobs_finished", "state", "finished"),
    sqlite_autoincrement=True,
)


def _job() -> Column[str]:
    return Column("job", String(32), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)


EVENTS = Table(
    "job_events",
    METADATA,
    _job(),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("data", JSON, nullable=False),
)

ARTIFACTS = Table(
    "job_artifacts",
    METADATA,
    _job(),
    Column("name", String(64), primary_key=True),
    Column("media_type", String(128), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("folder", String(32), nullable=False),
    Column("file", String(64), nullable=False),
)

TOTALS = Table(
    "job_totals",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)
# Counts that outlive their jobs; ``labels`` is a JSON object. See statistics.py.
STATISTICS = Table(
    "job_statistics",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("labels", String(512), primary_key=True),
    Column("value", Double, nullable=False),
)

# See drift.py. ``capital_...``: what the martingale holds in each of its bets.
DRIFT_STREAMS = Table(
    "drift_streams",
    METADATA,
    Column("number", _BIG, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("model", String(128), nullable=False),
    Column("bundle_sha256", String(64), nullable=False),
    Column("calibration_sha256", String(64), nullable=False),
    Column("calibrated", Integer, nullable=False),
    Column("served", BigInteger, nullable=False),
    Column("highest", Double, nullable=False),
    *(Column(f"capital_{bet}", Double, nullable=False) for bet in ("strange", "idle", "alike")),
)

# Scores of the calibration cases have negative numbers, those of served cases count from 0.
DRIFT_SCORES = Table(
    "drift_scores",
    METADATA,
    Column("stream", String(32), ForeignKey("drift_streams.id", ondelete="CASCADE"), primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("score", Double, nullable=False),
    Index("drift_scores_ranked", "stream", "score"),
)

ACCEPTED, REQUEUED = "accepted", "requeued"
TOTAL_NAMES = (ACCEPTED, REQUEUED, *(state.value for state in JobState if state.is_final))


def create_schema(connection: Connection) -> None:
    """Create the tables in an empty database; check the version of existing ones.

    Raises:
        JobRefusal: ``storage.schema``, the tables are another version's.
    """
    if not inspect(connection).has_table(QUEUE.name):
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(insert(QUEUE).values(version=SCHEMA_VERSION, turn=0))
        connection.execute(insert(TOTALS), [{"name": name, "value": 0} for name in TOTAL_NAMES])
    version = connection.execute(select(QUEUE.c.version)).scalar_one()
    if version != SCHEMA_VERSION:
        raise JobRefusal(
            JobCode.STORAGE_SCHEMA,
            f"The job database has schema version {version}, this program knows version {SCHEMA_VERSION}.",
            remedy="Use the program's version that made it, or an empty database.",
            observed=version,
            expected=SCHEMA_VERSION,
        )
