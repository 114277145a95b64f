"""What an operator decides about jobs and about who runs them."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode

from nnunet_losses.serve.jobs.database import parse_url
from nnunet_losses.serve.jobs.errors import JobRefusal
from nnunet_losses.serve.jobs.limits import QueueLimits
from nnunet_losses.serve.workers.devices import Device, parse_device


def _split(value: Any) -> Any:
    return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


def _check_url(value: SecretStr) -> SecretStr:
    try:
        parse_url(value.get_secret_value())
    except JobRefusal as refusal:
        raise ValueError(str(refusal)) from None
    return value


class JobSettings(BaseSettings):
    """The part of ``Settings`` about jobs. Times are seconds.

    All servers and workers on one database should agree about them, and serve the same models.
    """

    data_folder: Path | None = None  # of the jobs' files and the database; None: a temporary one
    database_url: Annotated[SecretStr, AfterValidator(_check_url)] | None = (
        None  # None: SQLite in data_folder
    )
    devices: Annotated[
        tuple[Annotated[Device, BeforeValidator(parse_device)], ...], NoDecode, BeforeValidator(_split)
    ] = ()  # one worker process each, as cpu or cuda:0; none: every GPU that the backend can use, or the CPU
    max_queued: int = Field(default=64, ge=1)  # jobs that wait
    max_per_caller: int | None = Field(default=None, ge=1)  # unfinished jobs of one caller; None: no bound
    job_timeout: float = Field(default=3600, gt=0)  # of one attempt
    model_timeout: float = Field(default=900, gt=0, le=7 * 24 * 3600)  # for a worker to open and test a model
    lease_seconds: float = Field(default=30, gt=0)  # silence after which another server's worker is lost
    job_retention: float = Field(default=24 * 3600, ge=0)  # of finished jobs and their artifacts
    aliases: dict[str, str] = {}  # other names of models, as {"stable": "liver@1"}
    allow_reload: bool = False  # whether POST /v1/models/{name}/reload is answered

    def queue_limits(self, *, retry_after: int) -> QueueLimits:
        """Bounds of the queue."""
        return QueueLimits(
            max_queued=self.max_queued,
            max_per_caller=self.max_per_caller or 2**31,
            lease_seconds=self.lease_seconds,
            run_seconds=self.job_timeout,
            retention_seconds=self.job_retention,
            retry_after=retry_after,
        )
