"""What is known of a job: frozen records, as the database holds them and as the service shows them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, JsonValue

from ..schema import Frozen
from .states import JobState  # noqa: TC001 - pydantic reads the annotation

if TYPE_CHECKING:
    from collections.abc import Callable


def _matching(pattern: str, *, expected: str, remedy: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"{value!r} is not {expected}. {remedy}")
        return value

    return AfterValidator(check)  # type: ignore[return-value] # annotations take the validator itself


Token = Annotated[
    str,
    _matching(r"[0-9a-f]{32}", expected="32 hexadecimal digits", remedy="Take it from new_token()."),
]
Sha256 = Annotated[
    str,
    _matching(
        r"[0-9a-f]{64}",
        expected="64 small hexadecimal digits",
        remedy="Take hashlib.sha256(...).hexdigest().",
    ),
]
Caller = Annotated[
    str,
    _matching(
        r"[\x21-\x7e]{1,128}",
        expected="a caller of 1 to 128 printable ASCII characters without spaces",
        remedy="Use the name of the API key, or the subject of the token.",
    ),
]
IdempotencyKey = Annotated[
    str,
    _matching(
        r"[\x20-\x7e]{1,255}",
        expected="an idempotency key of 1 to 255 printable ASCII characters",
        remedy="Use a new random UUID for each new request.",
    ),
]


TraceParent = Annotated[
    str,
    _matching(
        r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
        expected="a traceparent",
        remedy="See https://www.w3.org/TR/trace-context/.",
    ),
]


class Submission(Frozen):
    """What a client asks for.

    Attributes:
        caller: who asks; quotas and turns are by caller.
        request_sha256: hash of the whole request, files included: what makes two requests the same.
        parameters: what the worker needs besides files. Names of patients do not belong here.
        input_folder: token of the published folder that holds the input files.
        idempotency_key: the client's name for this request, so that sending it twice makes one job.
        traceparent: of the request, so that the job's spans belong to its trace.

    Example:
        >>> Submission(caller="ward 3", request_sha256="0" * 64)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        pydantic_core._pydantic_core.ValidationError: 1 validation error for Submission
        caller
          Value error, 'ward 3' is not a caller of 1 to 128 printable ASCII characters without spaces. Use ...
    """

    caller: Caller
    request_sha256: Sha256
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    input_folder: Token | None = None
    idempotency_key: IdempotencyKey | None = None
    traceparent: TraceParent | None = None


class Progress(Frozen):
    """How far a running job is: tiles (or other steps) done of a stage."""

    stage: str
    done: int
    total: int


class Failure(Frozen):
    """Why a job failed."""

    code: str
    detail: str
    remedy: str
    observed: JsonValue = None
    expected: JsonValue = None


class Job(Frozen):
    """One job. Times are seconds since 1970 (UTC)."""

    id: str
    caller: str
    state: JobState
    request_sha256: str
    parameters: dict[str, JsonValue]
    input_folder: str | None
    idempotency_key: str | None
    traceparent: str | None
    created: float
    started: float | None  # of the last attempt
    finished: float | None
    attempt: int  # how often it was started
    worker: str | None  # that has it, or had it last
    cancel_requested: bool
    progress: Progress | None
    failure: Failure | None
    result: dict[str, JsonValue] | None  # what the runner said of its work, for who lists jobs
    last_event: int


class Admission(Frozen):
    """The answer to a submission: the job, and whether this submission made it."""

    job: Job
    created: bool


class Lease(Frozen):
    """A worker's right to a job, until it expires. The token is new for each attempt."""

    job_id: str
    token: Token


class Claim(Frozen):
    """A job that a worker got."""

    job: Job
    lease: Lease


class EventKind(StrEnum):
    """What happened to a job."""

    STATE = "state"
    PROGRESS = "progress"
    CANCEL_REQUESTED = "cancel_requested"


class Event(Frozen):
    """Something that happened to a job; sequences of one job are 1, 2, 3, ..."""

    sequence: int
    time: float
    kind: EventKind
    data: dict[str, JsonValue]


class Artifact(Frozen):
    """A result file: its public name, and the random names under which it lies in the store."""

    name: str
    media_type: str
    size: int  # bytes
    sha256: str
    folder: Token
    file: str


class QueueCounts(Frozen):
    """The queue in figures, for metrics.

    ``totals`` count since the database was made and outlive the retention: accepted = succeeded + failed +
    cancelled + the jobs that are queued or running.
    """

    by_state: dict[JobState, int]
    queue_age: float  # seconds that the longest waiting job has waited; 0 without one
    callers_waiting: int
    run_seconds: float | None  # mean of the last jobs that succeeded
    totals: dict[str, int]
