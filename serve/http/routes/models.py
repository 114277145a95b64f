"""What is served."""

from fastapi import APIRouter

from ..dependencies import ModelsDep
from ..openapi import problems
from ..schemas import ModelList, ModelSummary

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("")
async def list_models(models: ModelsDep) -> ModelList:
    """Every model with its state, its channels and labels, and the proof that came with it."""
    return ModelList(models=tuple(ModelSummary.of(model) for model in models))


@router.get("/{model}", responses=problems(404, 503))
async def show_model(model: str, models: ModelsDep) -> ModelSummary:
    """One model."""
    return ModelSummary.of(models.get(model))
