"""What routes ask for."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from .models import Models
from .negotiation import Representation, negotiate
from .security.caller import caller_of
from .settings import Settings


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _models(request: Request) -> Models:
    models: Models = request.app.state.models
    return models


def _representation(request: Request) -> Representation:
    return negotiate(request.headers.get("accept"))


def _caller(request: Request) -> str:
    return caller_of(request).name


SettingsDep = Annotated[Settings, Depends(_settings)]
ModelsDep = Annotated[Models, Depends(_models)]
RepresentationDep = Annotated[Representation, Depends(_representation)]
CallerDep = Annotated[str, Depends(_caller)]  # owner of jobs
