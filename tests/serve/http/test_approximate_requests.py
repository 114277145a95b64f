"""Requests that trade exactness for speed: refused unless allowed, and then stated in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.workers.engine import Order
from nnunet_losses.serve.workers.runtime import BundleEngine, EngineSettings

from .fakes import FakeEngine, Service, problem, serving
from .real import write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIELDS = [{"step": "0.75"}, {"mirror": "false"}, {"skip_background": "true"}]


@pytest.fixture(scope="module")
def allowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(
        FakeEngine(), folder=tmp_path_factory.mktemp("allowing"), allow_approximations=True
    ) as running:
        yield running


@pytest.mark.parametrize("fields", FIELDS)
def test_they_are_refused_unless_allowed(service: Service, fields: dict[str, str]) -> None:
    problem(service.segment(data=fields), 403, "request.approximation")


@pytest.mark.parametrize("fields", FIELDS)
def test_they_reach_the_engine_where_allowed(allowing: Service, fields: dict[str, str]) -> None:
    assert allowing.segment(data=fields).status_code == 200
    assert dict(allowing.engines[0].orders[-1].options) == fields


@pytest.mark.parametrize(
    "fields", [{"step": "half"}, {"step": "2"}, {"step": "nan"}, {"mirror": "maybe"}, {"skip_background": ""}]
)
def test_impossible_values_are_named(allowing: Service, fields: dict[str, str]) -> None:
    content = problem(allowing.segment(data=fields), 422, "request.invalid")
    assert next(iter(fields)) in content["detail"]


def test_the_answer_says_what_was_approximated(bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "image.nii.gz")
    engine = BundleEngine.open(bundle, EngineSettings(backend="cpu", threads=1))

    def answer(name: str, **options: str):
        (tmp_path / name).mkdir()
        order = Order(model="m", options=options)
        made = engine.segment(
            [tmp_path / "image.nii.gz"], folder=tmp_path / name, order=order, progress=lambda *_: None
        )
        return made.answer

    exact = answer("exact")
    hurried = answer("hurried", step="0.25", mirror="false")
    again = answer("again")
    assert not [warning for warning in exact.warnings if warning.code.startswith("approximate")]
    codes = {warning.code for warning in hurried.warnings}
    assert "approximate.step" in codes
    assert hurried.manifest.tiles > exact.manifest.tiles
    assert hurried.manifest.bundle_sha256 == exact.manifest.bundle_sha256
    assert again.manifest.mask_sha256 == exact.manifest.mask_sha256  # the next request is exact again
