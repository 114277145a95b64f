"""What an operator decides: flags of ``nnunet-losses serve`` or NNUNET_LOSSES_* variables."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nnunet_losses.serve.backends.opening import Backend, PrecisionChoice

MEBIBYTE = 1024**2


class Settings(BaseSettings):
    """Settings of one server. Each has an environment variable, for example ``NNUNET_LOSSES_MAX_BODY_BYTES``.

    ``bundles`` is one path or several, in the environment separated as in ``PATH``. Sizes are bytes, times
    are seconds. A host that other machines can reach is refused unless ``allow_remote`` says that it is
    meant: the service has no authentication yet.

    Example:
        >>> Settings(bundles=["model.bundle"], port=0).host
        '127.0.0.1'
    """

    model_config = SettingsConfigDict(env_prefix="NNUNET_LOSSES_", frozen=True, extra="forbid")

    bundles: Annotated[tuple[Path, ...], NoDecode] = ()
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)  # 0: any free port
    allow_remote: bool = False
    backend: Backend = "auto"  # the fastest one that this machine has
    precision: PrecisionChoice = "auto"  # reduced only where the bundle holds the proof
    threads: int | None = Field(default=None, ge=1)  # None: all cores
    max_body_bytes: int = Field(default=1024 * MEBIBYTE, ge=1)
    max_waiting: int = Field(default=4, ge=0)  # requests waiting for one model, beside the running one
    max_uploads: int = Field(default=8, ge=1)  # requests whose body is on this machine
    upload_timeout: float = Field(default=300, gt=0)
    prediction_timeout: float = Field(default=1800, gt=0)  # waiting included
    shutdown_timeout: int = Field(default=30, ge=0)  # for requests in flight when the server is told to stop
    retry_after: int = Field(default=10, ge=1)  # advice to clients that were turned away
    temporary_folder: Path | None = None  # of uploads; None: the system's

    @field_validator("bundles", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        """Read the environment's ``first.bundle:second.bundle``."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _refuse_to_be_open(self) -> Self:
        if not self.allow_remote and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} can be reached from other machines, and there is no authentication yet. "
                "Use 127.0.0.1, or --allow-remote if a proxy with authentication stands before the service."
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name: who can reach it is not known
        return False
