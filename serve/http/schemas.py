"""What the service says about its models and itself."""

from typing import Any, Self

from pydantic import BaseModel, Field

from nnunet_losses.serve.jobs.drift import DriftState
from nnunet_losses.serve.schema import Label, Normalization, Parity
from nnunet_losses.serve.workers.reports import CalibrationFacts, ModelFailure, ModelReport, ModelState

from .channels import part_names


class ChannelSummary(BaseModel):
    """One input channel."""

    index: str  # nnU-Net's: 0000, 0001, ...
    name: str
    normalization: Normalization


class ModelSummary(BaseModel):
    """One model. What its bundle says is null until the bundle is read."""

    name: str
    version: str | None = None  # of several of one name; requests say name@version
    aliases: tuple[str, ...] = ()  # other names that mean this version now
    state: ModelState
    failure: ModelFailure | None = None
    sha256: str | None = None
    provider: str | None = None  # what the network really runs on
    precision: str | None = None  # with which it computes
    variants: tuple[str, ...] = ()  # reduced precisions that the bundle holds the proof of
    calibration: CalibrationFacts | None = None  # what is known of its answers
    drift: DriftState | None = None  # whether the served cases are still like the calibration's
    dimension: int | None = None  # of the network's patch: 2 or 3
    file_ending: str | None = None
    parts: tuple[str, ...] = ()  # names of the file parts that POST /v1/segment expects
    channels: tuple[ChannelSummary, ...] = ()
    labels: tuple[Label, ...] = ()
    parity: Parity | None = None

    @classmethod
    def of(
        cls, model: ModelReport, *, aliases: tuple[str, ...] = (), drift: tuple[DriftState, ...] = ()
    ) -> Self:
        """Summarise a model in its present state; of all streams, the newest of its bundle is its own."""
        own = [state for state in drift if state.bundle_sha256 == model.sha256]
        return cls(
            name=model.name,
            version=model.version,
            aliases=aliases,
            state=model.state,
            failure=model.failure,
            drift=own[-1] if own else None,
            **_bundle_facts(model),
        )


class ModelList(BaseModel):
    """All served models."""

    models: tuple[ModelSummary, ...]


class ArchiveSummary(BaseModel):
    """One archive that the operator has listed."""

    name: str


class ArchiveNames(BaseModel):
    """All of them; none where the operator listed none."""

    archives: tuple[ArchiveSummary, ...]


class ModelProgress(BaseModel):
    """How far a model is."""

    name: str
    state: ModelState
    failure: ModelFailure | None = None

    @classmethod
    def of(cls, model: ModelReport) -> Self:
        """Describe the present state."""
        return cls(name=model.key, state=model.state, failure=model.failure)


class ServerMetadata(BaseModel):
    """Open Inference Protocol, server metadata."""

    name: str
    version: str
    extensions: tuple[str, ...]


class TensorMetadata(BaseModel):
    """Open Inference Protocol: one tensor of the network; -1 stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class ModelMetadata(BaseModel):
    """Open Inference Protocol, model metadata."""

    name: str
    versions: tuple[str, ...]
    platform: str = "nnunet-losses_bundle"
    inputs: tuple[TensorMetadata, ...] = ()
    outputs: tuple[TensorMetadata, ...] = ()

    @classmethod
    def of(cls, model: ModelReport, *, versions: tuple[str, ...]) -> Self:
        """Describe the patch network of a model's first member, once the bundle is read."""
        description = model.description
        if description is None:
            return cls(name=model.name, versions=versions)
        patch = description.members[0].tiling.patch_size
        tiles, logits = (
            TensorMetadata(name=name, datatype="FP32", shape=(-1, channels, *patch))
            for name, channels in (("tiles", len(description.channel_names)), ("logits", description.heads))
        )
        return cls(name=model.name, versions=versions, inputs=(tiles,), outputs=(logits,))


class Live(BaseModel):
    """The process answers."""

    live: bool = True


class Ready(BaseModel):
    """Every model has passed its self-test."""

    ready: bool = True
    models: tuple[ModelProgress, ...] = Field(description="None are named where callers must have a key.")


class ModelReady(BaseModel):
    """The model has passed its self-test."""

    name: str
    ready: bool = True


class ProblemDetails(BaseModel):
    """RFC 9457, with a stable code and a remedy."""

    type: str
    title: str
    status: int
    detail: str
    instance: str  # the request's id
    code: str
    remedy: str


def _bundle_facts(model: ModelReport) -> dict[str, Any]:
    description = model.description
    if description is None:
        return {}
    channels = description.members[0].preprocessing.channels
    return {
        "sha256": model.sha256,
        "provider": model.provider,
        "precision": model.precision,
        "variants": tuple(variant.precision.value for variant in description.variants),
        "calibration": model.calibration,
        "dimension": description.dimension,
        "file_ending": description.file_ending,
        "parts": part_names(description),
        "channels": [
            ChannelSummary(index=f"{index:04d}", name=channel.name, normalization=channel.normalization)
            for index, channel in enumerate(channels)
        ],
        "labels": description.labels,
        "parity": description.parity,
    }
