"""Drift of the served cases, kept with the jobs: every server and worker of one database sees one stream.

A stream belongs to one model with one calibration (and site): another calibration begins another one. The
mathematics, and what an alarm means, are in ``safety/drift.py``.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Self

from pydantic import Field
from sqlalchemy import func, insert, select, update

from ..safety.drift import ALARM_LEVEL, Martingale, smoothed_p
from ..schema import Frozen
from .tables import DRIFT_SCORES, DRIFT_STREAMS

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from .database import Database

_AT_ONCE = 500  # rows of one insertion


class DriftStream(Frozen):
    """What a stream is ranked against.

    Attributes:
        model: name of the model, as metrics show it.
        bundle_sha256: hash of the bundle.
        calibration_sha256: hash of its calibration, and of the site's overlay.
        scores: of the calibration cases, by the very function that served cases are scored with.

    Example:
        >>> stream = DriftStream(model="liver", bundle_sha256="0", calibration_sha256="1", scores=(1.5,))
        >>> len(stream.id)
        32
    """

    model: str
    bundle_sha256: str
    calibration_sha256: str
    scores: tuple[float, ...] = Field(min_length=1)

    @property
    def id(self) -> str:
        """Name of the stream in the database."""
        text = f"{self.bundle_sha256} {self.calibration_sha256}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class DriftState(Frozen):
    """A stream as it stands.

    Attributes:
        model, bundle_sha256, calibration_sha256: see ``DriftStream``.
        calibrated: number of calibration cases.
        served: cases that were taken in since.
        capital: evidence against the cases being like the calibration's: 1 at the start.
        highest: the highest capital so far.
        alarm_level: a capital that is reached by chance in one of so many streams.
    """

    model: str
    bundle_sha256: str
    calibration_sha256: str
    calibrated: int
    served: int
    capital: float
    highest: float
    alarm_level: float = ALARM_LEVEL

    @property
    def alarm(self) -> bool:
        """Whether the capital has ever reached the alarm level."""
        return self.highest >= self.alarm_level

    @classmethod
    def of(cls, row: RowMapping) -> Self:
        """Read a row of ``DRIFT_STREAMS``."""
        return cls(
            capital=Martingale(_capitals(row)).capital,
            **{name: row[name] for name in cls.model_fields if name in row},
        )


def register(database: Database, stream: DriftStream) -> None:
    """Begin a stream, unless it is known. To be called by whoever opens a model, before it answers.

    Raises:
        ValueError: a score is NaN or infinite.
        JobRefusal: a code ``storage...``.
    """
    if not all(math.isfinite(score) for score in stream.scores):
        raise ValueError("a calibration score is not finite, and has no rank")
    with database.reading() as connection:
        if _row(connection, stream.id) is not None:
            return
    with database.writing() as connection:
        if _row(connection, stream.id) is None:
            _begin(connection, stream)


def _begin(connection: Connection, stream: DriftStream) -> None:
    start = Martingale().capitals
    connection.execute(
        insert(DRIFT_STREAMS).values(
            id=stream.id,
            **stream.model_dump(exclude={"scores"}),
            calibrated=len(stream.scores),
            served=0,
            highest=1.0,
            **dict(zip(_CAPITALS, start, strict=True)),
        )
    )
    rows = [
        {"stream": stream.id, "number": number - len(stream.scores), "score": score}
        for number, score in enumerate(stream.scores)
    ]
    for first in range(0, len(rows), _AT_ONCE):
        connection.execute(insert(DRIFT_SCORES), rows[first : first + _AT_ONCE])


def observe(connection: Connection, stream_id: str, score: float) -> DriftState | None:
    """Take one served case in, in the transaction that ends its job; None for an unknown stream.

    A score that is not finite has no rank, and is left out.
    """
    row = _row(connection, stream_id)
    if row is None or not math.isfinite(score):
        return None
    stranger, tied = _rank(connection, stream_id, score)
    p = smoothed_p(
        stranger, tied, row["calibrated"] + row["served"], seed=int(stream_id[:8], 16), position=row["served"]
    )
    martingale = Martingale(_capitals(row))
    highest = max(row["highest"], martingale.bet(p))
    connection.execute(
        insert(DRIFT_SCORES).values(stream=stream_id, number=row["served"], score=float(score))
    )
    connection.execute(
        update(DRIFT_STREAMS)
        .where(DRIFT_STREAMS.c.id == stream_id)
        .values(
            served=row["served"] + 1,
            highest=highest,
            **dict(zip(_CAPITALS, martingale.capitals, strict=True)),
        )
    )
    changed = _row(connection, stream_id)
    return None if changed is None else DriftState.of(changed)


def drift_states(connection: Connection) -> tuple[DriftState, ...]:
    """Read all streams, those of one model oldest first."""
    rows = connection.execute(select(DRIFT_STREAMS).order_by(DRIFT_STREAMS.c.number)).mappings()
    return tuple(DriftState.of(row) for row in rows)


def _rank(connection: Connection, stream_id: str, score: float) -> tuple[int, int]:
    """Count known cases that are stranger, and those that are as strange."""
    own = DRIFT_SCORES.c.stream == stream_id
    stranger = select(func.count()).where(own, DRIFT_SCORES.c.score > score)
    tied = select(func.count()).where(own, DRIFT_SCORES.c.score == score)
    return connection.execute(stranger).scalar_one(), connection.execute(tied).scalar_one()


def _row(connection: Connection, stream_id: str) -> RowMapping | None:
    query = select(DRIFT_STREAMS).where(DRIFT_STREAMS.c.id == stream_id)
    return connection.execute(query).mappings().first()


_CAPITALS = ("capital_strange", "capital_idle", "capital_alike")  # in the order of ``safety.drift.BETS``


def _capitals(row: RowMapping) -> tuple[float, ...]:
    return tuple(row[name] for name in _CAPITALS)
