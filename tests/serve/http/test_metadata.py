"""The Open Inference Protocol's metadata, and what /v1/models says of calibration and drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_losses.serve.jobs.drift import DriftStream, observe, register

from .fakes import FakeEngine, Service, problem, serving

if TYPE_CHECKING:
    from pathlib import Path


def test_models_have_metadata(service: Service) -> None:
    found = service.client.get("/v2/models/brain").json()
    assert found["name"] == "brain"
    assert found["versions"] == []
    assert found["inputs"] == [{"name": "tiles", "datatype": "FP32", "shape": [-1, 2, 8, 8, 8]}]
    assert found["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 2, 8, 8, 8]}]
    problem(service.client.get("/v2/models/nobody"), 404, "model.unknown")
    problem(service.client.get("/v2/models/brain/versions/7"), 404, "model.unknown")


def test_versions_are_told_apart(tmp_path: Path) -> None:
    labelled = {f"brain@{version}.bundle": FakeEngine for version in (1, 2)}
    with serving(labelled, folder=tmp_path) as running:
        ask = running.client.get
        assert ask("/v2/models/brain").json()["versions"] == ["1", "2"]
        assert ask("/v2/models/brain/versions/1").json()["name"] == "brain"
        assert ask("/v2/models/brain/versions/2/ready").json() == {"name": "brain@2", "ready": True}
        problem(ask("/v2/models/brain/versions/3/ready"), 404, "model.unknown")


def test_drift_is_told_with_the_model(service: Service) -> None:
    (before,) = service.client.get("/v1/models").json()["models"]
    assert before["drift"] is None
    assert before["calibration"] is None
    stream = DriftStream(model="brain", bundle_sha256="ab" * 32, calibration_sha256="1", scores=(1.0, 2.0))
    database = service.server.config.app.state.jobs.ground.database
    register(database, stream)
    with database.writing() as connection:
        observe(connection, stream.id, 3.0)
    drift = service.client.get("/v1/models/brain").json()["drift"]
    assert (drift["served"], drift["calibrated"], drift["alarm_level"]) == (1, 2, 100.0)
    assert drift["capital"] > 0
    assert (
        'nnunet_losses_drift_cases{calibration="1",model="brain"} 1.0' in service.client.get("/metrics").text
    )
