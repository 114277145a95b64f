"""Live, ready, and the states of models on the way there."""

from __future__ import annotations

import threading

import pytest

from nnunet_losses.serve.errors import Code, Refusal

from .fakes import HELD, PATIENCE, FakeEngine, Service, description, problem, serving, wait_for

FAILED_TEST = Refusal(Code.BUNDLE_SELF_TEST_FAILED, "Logits differ by 0.3.", remedy="Export the model again.")


def raising(error: Exception):
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize("path", ["/v2/health/live", "/healthz"])
def test_live(service: Service, path: str) -> None:
    assert service.client.get(path).json() == {"live": True}


@pytest.mark.parametrize("path", ["/v2/health/ready", "/readyz"])
def test_ready(service: Service, path: str) -> None:
    expected = {"ready": True, "models": [{"name": "brain", "state": "ready", "failure": None}]}
    assert service.client.get(path).json() == expected


def test_metadata(service: Service) -> None:
    content = service.client.get("/v2").json()
    assert content["name"] == "nnunet-losses"
    assert set(content) == {"name", "version", "extensions"}


def test_models_are_described(service: Service) -> None:
    (model,) = service.client.get("/v1/models").json()["models"]
    assert model == service.client.get("/v1/models/brain").json()
    assert (model["name"], model["state"], model["dimension"], model["file_ending"]) == (
        "brain",
        "ready",
        3,
        ".nii.gz",
    )
    assert model["parts"] == ["T1", "FLAIR"]
    assert model["channels"][1] == {"index": "0001", "name": "FLAIR", "normalization": "ZScoreNormalization"}
    assert model["labels"] == [{"name": "lesion", "channel": 1, "value": 1, "members": [1]}]
    assert (model["provider"], model["sha256"], model["parity"]) == ("FakeProvider", "ab" * 32, None)
    assert service.client.get("/v2/models/brain/ready").json() == {"name": "brain", "ready": True}


def test_it_is_live_at_once_and_ready_after_the_self_test(tmp_path) -> None:
    passed = threading.Event()
    with serving(FakeEngine(test=lambda: passed.wait(HELD)), folder=tmp_path, ready=False) as service:
        try:
            wait_for(lambda: service.client.get("/v1/models").json()["models"][0]["state"] == "testing")
            assert service.client.get("/v2/health/live").status_code == 200
            response = service.client.get("/v2/health/ready")
            content = problem(response, 503, "service.not_ready")
            assert content["ready"] is False
            assert content["models"] == [{"name": "brain", "state": "testing", "failure": None}]
            assert int(response.headers["retry-after"]) > 0
            problem(service.client.get("/v2/models/brain/ready"), 503, "model.not_ready")
            problem(service.segment(), 503, "model.not_ready")
            assert service.engines[0].received == []
        finally:
            passed.set()
        service.wait_until_ready()
        assert service.segment().status_code == 200


def test_while_loading_a_name_may_still_come(tmp_path) -> None:
    opened = threading.Event()

    def opener() -> FakeEngine:
        opened.wait(HELD)
        return FakeEngine()

    with serving({"folder": opener}, folder=tmp_path, ready=False) as service:
        try:
            assert service.client.get("/v1/models").json()["models"][0]["name"] == "folder"
            assert service.client.get("/v1/models/folder").json()["state"] == "loading"
            problem(service.client.get("/v1/models/brain"), 503, "model.not_ready")
        finally:
            opened.set()
        service.wait_until_ready()
        problem(service.client.get("/v1/models/folder"), 404, "model.unknown")


@pytest.mark.parametrize(
    ("error", "code"),
    [(FAILED_TEST, "bundle.self_test_failed"), (ZeroDivisionError("the inside"), "internal")],
)
def test_a_failed_self_test_stays_unready_with_its_reason(tmp_path, error: Exception, code: str) -> None:
    good = FakeEngine(description(name="good"))
    with serving(FakeEngine(test=raising(error)), good, folder=tmp_path, ready=False) as service:
        wait_for(lambda: service.client.get("/v2/models/good/ready").status_code == 200)
        response = service.client.get("/v2/health/ready")
        failed, ready = problem(response, 503, "service.not_ready")["models"]
        assert (failed["state"], failed["failure"]["code"]) == ("failed", code)
        assert "the inside" not in response.text
        assert ready["state"] == "ready"
        content = problem(service.segment(data={"model": "brain"}), 503, "model.not_ready")
        assert content["reason"]["code"] == code
        problem(service.client.get("/v2/models/brain/ready"), 503, "model.not_ready")
        assert service.segment(data={"model": "good"}).status_code == 200


def test_a_bundle_that_cannot_be_opened_keeps_its_label(tmp_path) -> None:
    mismatch = Refusal(Code.BUNDLE_HASH_MISMATCH, "fold_0.onnx was changed.", remedy="Fetch it again.")
    with serving({"brain.bundle": raising(mismatch)}, folder=tmp_path, ready=False) as service:
        wait_for(lambda: service.client.get("/v1/models").json()["models"][0]["state"] == "failed")
        model = service.client.get("/v1/models/brain.bundle").json()
        assert model["failure"]["code"] == "bundle.hash_mismatch"
        assert (model["sha256"], model["channels"]) == (None, [])
        problem(service.segment(), 503, "model.not_ready")


def test_two_bundles_of_one_name_are_not_mixed_up(tmp_path) -> None:
    with serving(FakeEngine(), FakeEngine(sha256="cd" * 32), folder=tmp_path, ready=False) as service:
        wait_for(lambda: service.models[1].state == "failed")
        content = problem(service.client.get("/v2/health/ready"), 503, "service.not_ready")
        assert content["models"][1]["failure"]["code"] == "bundle.unsupported"
        assert service.client.get("/v1/models/brain").json()["sha256"] == "ab" * 32


def test_stopping_while_a_model_loads_ends(tmp_path) -> None:
    entered, left = threading.Event(), threading.Event()

    def opener() -> FakeEngine:
        entered.set()
        left.wait(HELD)
        wait_for(lambda: service.server.should_exit)
        return FakeEngine()

    with serving({"slow": opener}, folder=tmp_path, ready=False) as service:
        try:
            assert entered.wait(PATIENCE)
        finally:
            left.set()
