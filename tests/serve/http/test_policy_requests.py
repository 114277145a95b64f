"""Requests that say what is to happen with strange images and empty masks, and ask for a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.answer import Outcome
from nnunet_losses.serve.errors import Code
from nnunet_losses.serve.http.problems import PROBLEM_TYPES
from nnunet_losses.serve.policies import EmptyPolicy, OodPolicy
from nnunet_losses.serve.workers.engine import Order
from nnunet_losses.serve.workers.runtime import BundleEngine, EngineSettings

from .fakes import Service, problem
from .real import write_image

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "fields",
    [{"ood": "reject"}, {"empty": "raw", "uncertainty": "true"}, {"empty_seg": "omit", "orientation": "LPS"}],
)
def test_they_reach_the_engine(service: Service, fields: dict[str, str]) -> None:
    assert service.segment(data=fields).status_code == 200
    assert dict(service.engines[0].orders[-1].options) == fields


@pytest.mark.parametrize(
    "fields",
    [
        {"ood": "raw"},
        {"empty": "suppress"},
        {"uncertainty": "maybe"},
        {"empty_seg": "no"},
        {"orientation": "RAL"},
    ],
)
def test_unknown_ones_are_named_with_the_choices(service: Service, fields: dict[str, str]) -> None:
    content = problem(service.segment(data=fields), 422, "request.invalid")
    assert next(iter(fields)) in content["detail"]
    assert "expected" in content["detail"]


def test_the_engine_makes_what_was_asked_for(bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "image.nii.gz")
    settings = EngineSettings(backend="cpu", threads=1, ood=OodPolicy.SUPPRESS)
    engine = BundleEngine.open(bundle, settings)
    order = Order(model="m", options={"empty": "raw", "uncertainty": "true"})
    made = engine.segment([tmp_path / "image.nii.gz"], folder=tmp_path, order=order, progress=lambda *_: None)
    policy = made.answer.policy
    assert (policy.ood, policy.empty) == (OodPolicy.SUPPRESS, EmptyPolicy.RAW)  # the server's, the request's
    assert made.answer.outcome in (Outcome.SEGMENTED, Outcome.EMPTY)
    assert {"raw", "uncertainty"} <= made.more.keys()
    assert all(file.path.is_file() for file in made.more.values())
    assert made.answer.quality.uncertainty_map == made.more["uncertainty"].path.name


@pytest.mark.parametrize("code", [Code.POLICY_EMPTY, Code.POLICY_OUT_OF_DISTRIBUTION])
def test_rejections_by_policy_are_unprocessable(code: Code) -> None:
    assert PROBLEM_TYPES[code].status == 422
