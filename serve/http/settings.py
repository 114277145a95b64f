"""What an operator decides: flags of ``nnunet-losses serve`` or NNUNET_LOSSES_* variables."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from nnunet_losses.serve.backends.opening import Backend, PrecisionChoice
from nnunet_losses.serve.policies import EmptyPolicy, OodPolicy

from .archive_settings import ArchiveSettings
from .job_settings import JobSettings
from .security.settings import SecuritySettings

MEBIBYTE = 1024**2


class Settings(SecuritySettings, JobSettings, ArchiveSettings):
    """Settings of one server. Each has an environment variable, for example ``NNUNET_LOSSES_MAX_BODY_BYTES``.

    ``bundles`` is one path or several, in the environment separated as in ``PATH``. Sizes are bytes, times
    are seconds. Callers, hosts and bounds of a request are ``SecuritySettings``; the queue
    and the workers are ``JobSettings``; archives are ``ArchiveSettings``.

    Example:
        >>> Settings(bundles=["model.bundle"], port=0).host
        '127.0.0.1'
    """

    model_config = SettingsConfigDict(env_prefix="NNUNET_LOSSES_", frozen=True, extra="forbid")

    bundles: Annotated[tuple[Path, ...], NoDecode] = ()
    port: int = Field(default=8000, ge=0, le=65535)  # 0: any free port
    backend: Backend = "auto"  # the fastest one that this machine has
    precision: PrecisionChoice = "auto"  # reduced only where the bundle holds the proof
    threads: int | None = Field(default=None, ge=1)  # None: all cores
    ood: OodPolicy = OodPolicy.FLAG  # images unlike the known ones, where a request says nothing else
    empty: EmptyPolicy = EmptyPolicy.FLAG  # answers in which nothing was found, likewise
    allow_approximations: bool = False  # whether requests may trade exactness for speed
    max_body_bytes: int = Field(default=1024 * MEBIBYTE, ge=1)
    max_uploads: int = Field(default=8, ge=1)  # requests whose body is on this machine
    upload_timeout: float = Field(default=300, gt=0)
    prediction_timeout: float = Field(default=1800, gt=0)  # of a call that waits, in the queue included
    shutdown_timeout: int = Field(default=30, ge=0)  # for requests in flight when the server is told to stop
    retry_after: int = Field(default=10, ge=1)  # advice to clients that were turned away
    temporary_folder: Path | None = None  # of jobs where there is no data_folder; None: the system's

    @field_validator("bundles", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        """Read the environment's ``first.bundle:second.bundle``."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value
