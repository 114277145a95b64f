"""Replies and findings as a demonstration has them, made without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import (
    Answer,
    Empty,
    EmptyMeaning,
    EmptyReason,
    LabelAnswer,
    Manifest,
    Outcome,
    Warning_,
)
from nnunet_losses.serve.schema import Parity
from tools.demo.findings import Model, Overlap, Sent
from tools.demo.plan import FLAVOURS, Plan
from tools.demo.service import Reply
from tools.demo.story import Findings

if TYPE_CHECKING:
    from pathlib import Path

MODELS = ("DiceTopK_2epochs", "Tversky_2epochs")
MANIFEST = Manifest(model="sample", bundle_sha256="0", input_sha256=None, versions={})


def plan(folder: Path, dimension: int = 2) -> Plan:
    return Plan(folder, FLAVOURS[dimension])


def answer(voxels: int, **changes: Any) -> dict[str, Any]:
    """An answer of the service, as JSON gives it."""
    found = voxels > 0
    label = LabelAnswer(name="lesion", present=found, voxels=voxels, volume_ml=None, components=int(found))
    empty = Empty(reason=EmptyReason.NO_VOXEL_ABOVE_THRESHOLD, meaning=EmptyMeaning.NO_FINDING)
    content = {
        "case": "test_000",
        "outcome": Outcome.SEGMENTED if voxels else Outcome.EMPTY,
        "labels": (label,),
        "empty": None if voxels else empty,
        "manifest": MANIFEST,
        "warnings": (Warning_(code="spacing.unusual", message="The spacing is unusual."),),
    }
    return Answer.model_validate(content | changes).model_dump(mode="json")


def reply(voxels: int) -> Reply:
    return Reply(200, answer(voxels), None, b"mask", 0.2)


def refusal(status: int = 400, code: str = "input.truncated") -> Reply:
    problem = {"code": code, "detail": "The file <b>ends</b> too early.", "remedy": "Send it again."}
    return Reply(status, None, problem, None, 0.01)


def mask(voxels: int, shape: tuple[int, ...] = (20, 24)) -> np.ndarray[Any, Any]:
    array = np.zeros(int(np.prod(shape)), np.uint8)
    array[200 : 200 + voxels] = 1
    return array.reshape(shape)


def sent(voxels: int, reference: int, shape: tuple[int, ...] = (20, 24)) -> Sent:
    image = np.random.default_rng(0).integers(0, 200, shape)
    return Sent(
        title="a case",
        case="test_000",
        replies=dict.fromkeys(MODELS, reply(voxels)),
        masks=dict.fromkeys(MODELS, mask(voxels, shape)),
        same_bytes=dict.fromkeys(MODELS, True),
        image=image,
        reference=mask(reference, shape),
    )


def parity(**changes: Any) -> Parity:
    content = {
        "passed": True,
        "created": "2026-01-01T00:00:00Z",
        "reference": "nnunetv2, cpu",
        "backend": "CPU",
        "cases": 2,
        "tiles": 8,
        "max_tile_difference": 1e-6,
        "differing_voxels": 0,
        "differing_voxels_beyond_margin": 0,
        "voxels": 12000,
        "dice": {"lesion": 1.0},
    }
    return Parity.model_validate(content | changes)


def model(name: str, **changes: Any) -> Model:
    overlaps = [Overlap("test_000", 50, 40, 40), Overlap("test_001", 0, 0, 0), Overlap("test_002", 0, 3, 0)]
    content = {"trainer": f"nnUNetTrainer{name}", "name": name, "parity": parity(), "overlaps": overlaps}
    return Model(**{**content, "bundle_bytes": 1_500_000, **changes})


def findings() -> Findings:
    return Findings(
        models=[model(name) for name in MODELS],
        answered=[sent(40, 50), sent(0, 0)],
        refused=[Sent("a truncated file", "truncated.png", dict.fromkeys(MODELS, refusal()))],
        timings=[("Draw", 0.4), ("Train", 71.0)],
    )
