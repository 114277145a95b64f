"""What an operator decides about the cluster, beside ``nnunet_losses.serve.http.settings``."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ClusterSettings(BaseSettings):
    """Settings of ``nnunet-losses serve --ray``, from the environment only: NNUNET_LOSSES_RAY_PREDICTORS ...

    Example:
        >>> ClusterSettings(predictors=2).predictor_cpus
        1.0
    """

    model_config = SettingsConfigDict(env_prefix="NNUNET_LOSSES_RAY_", frozen=True)

    predictors: int | None = Field(default=None, ge=1)  # processes; None: one for each device
    predictor_cpus: float = Field(default=1.0, ge=0)  # that Ray sets aside for each
    ingresses: int = Field(default=1, ge=1)  # processes that answer HTTP
