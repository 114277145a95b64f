"""What routes ask for."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from .catalogue import Catalogue
from .job_service import JobService
from .negotiation import Representation, negotiate
from .security.caller import caller_of
from .settings import Settings


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


def _jobs(request: Request) -> JobService:
    jobs: JobService = request.app.state.jobs
    return jobs


def _catalogue(request: Request) -> Catalogue:
    return _jobs(request).catalogue


def _representation(request: Request) -> Representation:
    return negotiate(request.headers.get("accept"))


def _caller(request: Request) -> str:
    return caller_of(request).name


SettingsDep = Annotated[Settings, Depends(_settings)]
JobsDep = Annotated[JobService, Depends(_jobs)]
CatalogueDep = Annotated[Catalogue, Depends(_catalogue)]
RepresentationDep = Annotated[Representation, Depends(_representation)]
CallerDep = Annotated[str, Depends(_caller)]  # owner of jobs
