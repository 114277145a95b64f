"""What clients are told about jobs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Self

from pydantic import AwareDatetime, BaseModel, Field

from nnunet_losses.serve.answer import Answer, Manifest, Outcome, Problem, Push, Verdict
from nnunet_losses.serve.dicomweb import Source
from nnunet_losses.serve.jobs.records import Artifact, Job
from nnunet_losses.serve.jobs.states import JobState
from nnunet_losses.serve.workers.engine import InputFile, Order


class JobProgress(BaseModel):
    """How far a running job is: tiles (or other steps) done of a stage."""

    stage: str  # read, preprocess, network, conclude, write
    done: int
    total: int


class JobArtifact(BaseModel):
    """A result file. Its URL answers with the ETag ``"sha256"`` and understands ranges."""

    name: str  # the kind that was asked for: answer, mask, ...
    media_type: str
    bytes: int
    sha256: str
    url: str

    @classmethod
    def of(cls, artifact: Artifact, *, job_url: str) -> Self:
        """Describe one of a job's artifacts."""
        return cls(
            name=artifact.name,
            media_type=artifact.media_type,
            bytes=artifact.size,
            sha256=artifact.sha256,
            url=f"{job_url}/artifacts/{artifact.name}",
        )


class JobLinks(BaseModel):
    """Addresses of one job. ``cancel`` takes DELETE, the others GET."""

    self: str
    events: str
    cancel: str
    manifest: str


class JobStatus(BaseModel):
    """One job. A job that was rejected has succeeded, with the outcome ``rejected`` and its problem."""

    id: str
    state: JobState
    model: str  # name@version, where the bundle was given a version
    case: str
    created: AwareDatetime
    started: AwareDatetime | None  # of the last attempt
    finished: AwareDatetime | None
    attempt: int  # how often it was started
    position: int | None  # jobs that run before it; null unless it is queued
    progress: JobProgress | None
    outcome: Outcome | None
    verdict: Verdict | None
    problem: Problem | None  # why it failed, or why the image was rejected
    push: Push | None = Field(description="What became of the wish to store results in an archive.")
    artifacts: tuple[JobArtifact, ...] = Field(description="Empty unless the job has succeeded.")
    last_event: int = Field(
        description="Number of the last event that is in here: as Last-Event-ID it brings those that follow."
    )
    links: JobLinks

    @classmethod
    def of(cls, job: Job, *, position: int | None, artifacts: Sequence[Artifact]) -> Self:
        """Describe a job as it is now."""
        url = job_url(job.id)
        result = job.result or {}
        known = {name: result.get(name) for name in ("outcome", "verdict", "problem", "push")}
        if job.failure is not None:
            known["problem"] = job.failure.model_dump()
        return cls.model_validate(
            {
                **known,
                "id": job.id,
                "state": job.state,
                "model": job.parameters.get("model", ""),
                "case": job.parameters.get("case", ""),
                "created": _time(job.created),
                "started": _time(job.started),
                "finished": _time(job.finished),
                "attempt": job.attempt,
                "position": position,
                "progress": None if job.progress is None else job.progress.model_dump(),
                "artifacts": [JobArtifact.of(artifact, job_url=url) for artifact in artifacts],
                "last_event": job.last_event,
                "links": {
                    "self": url,
                    "events": f"{url}/events",
                    "cancel": url,
                    "manifest": f"{url}/manifest",
                },
            }
        )


class JobManifest(BaseModel):
    """What produced a job's artifacts: enough to produce them again, and to see that they are the same."""

    job: str
    model: str
    request_sha256: str
    inputs: tuple[InputFile, ...] = Field(description="Uploaded files; none of a series from an archive.")
    source: Source | None = Field(description="Where the series came from.")
    outputs: tuple[str, ...]
    options: dict[str, str]
    push: Push | None = Field(description="What was stored in an archive.")
    answer: Manifest
    artifacts: tuple[JobArtifact, ...]

    @classmethod
    def of(cls, job: Job, answer: Answer, *, artifacts: Sequence[Artifact]) -> Self:
        """Put together what is known of a succeeded job."""
        order = Order.model_validate(job.parameters)
        url = job_url(job.id)
        return cls(
            job=job.id,
            model=order.model,
            request_sha256=job.request_sha256,
            inputs=order.files,
            source=order.source,
            outputs=order.outputs,
            options=dict(order.options),
            push=answer.push,
            answer=answer.manifest,
            artifacts=tuple(JobArtifact.of(artifact, job_url=url) for artifact in artifacts),
        )


def job_url(job_id: str) -> str:
    """Path of a job, without the host: behind a proxy, only the client knows that.

    Example:
        >>> job_url("0123")
        '/v1/jobs/0123'
    """
    return f"/v1/jobs/{job_id}"


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
