"""Health and metadata of the Open Inference Protocol.

https://github.com/kserve/open-inference-protocol
"""

from importlib.metadata import version

from fastapi import APIRouter

from ..catalogue import Catalogue
from ..dependencies import CatalogueDep, JobsDep, SettingsDep
from ..openapi import problems
from ..problems import ServiceCode, ServiceProblem
from ..schemas import Live, ModelMetadata, ModelProgress, ModelReady, Ready, ServerMetadata

router = APIRouter(tags=["health"])


@router.get("/v2")
async def metadata() -> ServerMetadata:
    """Name and version of the server. Images go to /v1/segment; the tensor protocol is not offered."""
    return ServerMetadata(name="nnunet-losses", version=version("nnunet-losses"), extensions=())


@router.get("/v2/health/live")
@router.get("/healthz", include_in_schema=False)
async def live() -> Live:
    """Answer as long as the process can."""
    return Live()


@router.get("/v2/health/ready", responses=problems(503))
@router.get("/readyz", include_in_schema=False)
async def ready(jobs: JobsDep, settings: SettingsDep) -> Ready:
    """200 once every model has passed its self-test and a worker is there; else 503 with each state.

    Probes need no key. Where everybody else does, models are named to none: /v1/models has their states.
    """
    told = () if settings.is_authenticated else jobs.catalogue
    states = tuple(ModelProgress.of(model) for model in told)
    if jobs.is_ready:
        return Ready(models=states)
    raise ServiceProblem(
        ServiceCode.SERVICE_NOT_READY,
        "The server is being stopped." if jobs.is_draining else "Not every model is ready, or no worker is.",
        remedy="See /v1/models: wait where `state` is loading or testing; see `failure` where there is one.",
        headers={"Retry-After": str(settings.retry_after)},
        ready=False,
        models=[state.model_dump(mode="json") for state in states],
    )


@router.get("/v2/models/{model}/ready", responses=problems(404, 503))
async def model_ready(model: str, catalogue: CatalogueDep) -> ModelReady:
    """200 once this model has passed its golden self-test."""
    return _ready(model, catalogue)


@router.get("/v2/models/{model}/versions/{version}/ready", responses=problems(404, 503))
async def version_ready(model: str, version: str, catalogue: CatalogueDep) -> ModelReady:
    """The same of one version."""
    return _ready(f"{model}@{version}", catalogue)


def _ready(name: str, catalogue: Catalogue) -> ModelReady:
    served = catalogue.get(name)
    catalogue.require_ready(served)
    return ModelReady(name=served.key)


@router.get("/v2/models/{model}", responses=problems(404, 503))
async def model_metadata(model: str, catalogue: CatalogueDep) -> ModelMetadata:
    """Versions of a model, and the tensors of its patch network. They are for information, see /v2."""
    return _metadata(model, catalogue)


@router.get("/v2/models/{model}/versions/{version}", responses=problems(404, 503))
async def version_metadata(model: str, version: str, catalogue: CatalogueDep) -> ModelMetadata:
    """The same of one version."""
    return _metadata(f"{model}@{version}", catalogue)


def _metadata(name: str, catalogue: Catalogue) -> ModelMetadata:
    served = catalogue.get(name)
    found = [report.version for report in catalogue if report.name == served.name]
    return ModelMetadata.of(served, versions=tuple(sorted(version for version in found if version)))
