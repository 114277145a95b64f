"""What is served."""

from fastapi import APIRouter

from nnunet_losses.serve.errors import Refusal

from ..catalogue import Catalogue
from ..dependencies import CatalogueDep, JobsDep, SettingsDep
from ..job_service import JobService
from ..openapi import problems
from ..problems import ServiceCode, ServiceProblem
from ..schemas import ModelList, ModelSummary

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
async def list_models(catalogue: CatalogueDep, jobs: JobsDep) -> ModelList:
    """Every model with its state, its channels and labels, and the proof that came with it."""
    drift = await jobs.drift()
    return ModelList(
        models=tuple(
            ModelSummary.of(model, aliases=catalogue.aliases_of(model), drift=drift) for model in catalogue
        )
    )


@router.get("/{model}", responses=problems(404, 503))
async def show_model(model: str, catalogue: CatalogueDep, jobs: JobsDep) -> ModelSummary:
    """One model, by its name (the newest version), by name@version or by an alias."""
    return await _summary(model, catalogue, jobs)


@router.post("/{model}/reload", responses=problems(403, 404, 409, 503))
async def reload_model(model: str, jobs: JobsDep, settings: SettingsDep) -> ModelSummary:
    """Serve what the bundle holds now, if it passes its self-test in every worker; else keep the old one.

    Jobs go on meanwhile; one that is running ends with the old bundle.
    """
    if not settings.allow_reload:
        raise ServiceProblem(
            ServiceCode.MODEL_RELOAD_OFF,
            "This server does not reload models.",
            remedy="Ask the operator to set NNUNET_LOSSES_ALLOW_RELOAD, or to restart the server.",
        )
    key = jobs.catalogue.get(model).key
    try:
        await jobs.reload(key)
    except Refusal as refusal:
        raise ServiceProblem(
            ServiceCode.MODEL_RELOAD_FAILED,
            f"The old bundle is still served. {refusal.detail}",
            remedy=refusal.remedy,
            reason={"code": refusal.code, "detail": refusal.detail, "remedy": refusal.remedy},
        ) from refusal
    return await _summary(key, jobs.catalogue, jobs)


async def _summary(name: str, catalogue: Catalogue, jobs: JobService) -> ModelSummary:
    found = catalogue.get(name)
    return ModelSummary.of(found, aliases=catalogue.aliases_of(found), drift=await jobs.drift())
