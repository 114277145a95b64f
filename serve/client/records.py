"""What the service says of models and jobs. Members of later versions are ignored."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads the annotations
from typing import Any

from pydantic import BaseModel, ConfigDict

FINAL = frozenset({"succeeded", "failed", "cancelled"})


class Record(BaseModel):
    """Immutable; tolerant of what it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Model(Record):
    """One served model.

    Attributes:
        name, state: only a ``ready`` one answers.
        parts: names of the files that it needs, in its order.
        file_ending: of its masks.
        labels: names and mask values.
    """

    name: str
    state: str
    parts: tuple[str, ...] = ()
    file_ending: str | None = None
    dimension: int | None = None
    labels: tuple[dict[str, Any], ...] = ()


class Progress(Record):
    """Tiles (or other steps) done of a stage."""

    stage: str
    done: int
    total: int


class Artifact(Record):
    """One result file, as it lies on the server."""

    name: str
    media_type: str
    bytes: int
    sha256: str
    url: str


class JobProblem(Record):
    """Why a job failed, or why its image was rejected."""

    code: str
    detail: str
    remedy: str


class Series(Record):
    """A case in an archive.

    Attributes:
        archive: the server's name for it, see ``Client.archives``.
        study: StudyInstanceUID.
        series: SeriesInstanceUID; of a model with several channels one for each, by its ``parts``.
    """

    archive: str
    study: str
    series: str | dict[str, str]


class Push(Record):
    """What became of the wish to store results in an archive: ``stored``, ``failed`` or ``withheld``."""

    archive: str
    state: str
    objects: tuple[str, ...] = ()
    attempts: int = 0
    problem: JobProblem | None = None


class Job(Record):
    """One job. A rejected image is a job that succeeded, with the outcome ``rejected``.

    Example:
        >>> Job(id="0", state="queued", model="liver").is_final
        False
    """

    id: str
    state: str
    model: str
    case: str = ""
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    attempt: int = 0
    position: int | None = None
    progress: Progress | None = None
    outcome: str | None = None
    verdict: str | None = None
    problem: JobProblem | None = None
    push: Push | None = None
    artifacts: tuple[Artifact, ...] = ()
    last_event: int = 0

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in FINAL

    def artifact(self, name: str) -> Artifact:
        """One of the result files.

        Raises:
            KeyError: there is none of this name.
        """
        return {artifact.name: artifact for artifact in self.artifacts}[name]


class Event(Record):
    """Something that happened to a job: ``state``, ``progress`` or ``done``."""

    kind: str
    data: dict[str, Any]
    id: str = ""
