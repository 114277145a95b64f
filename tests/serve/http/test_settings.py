"""Settings: environment, ranges, and who may connect."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.security.settings import is_loopback
from nnunet_losses.serve.http.settings import Settings


def test_defaults_are_safe() -> None:
    settings = Settings()
    assert (settings.host, settings.allow_remote) == ("127.0.0.1", False)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNUNET_LOSSES_BUNDLES", os.pathsep.join(["a.bundle", "b.zip"]))
    monkeypatch.setenv("NNUNET_LOSSES_PORT", "9001")
    monkeypatch.setenv("NNUNET_LOSSES_SHARED", "of the tests, not of the service")
    settings = Settings()
    assert settings.bundles == (Path("a.bundle"), Path("b.zip"))
    assert settings.port == 9001
    assert Settings(port=9002).port == 9002


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 70_000},
        {"port": -1},
        {"threads": 0},
        {"max_body_bytes": 0},
        {"max_waiting": -1},
        {"backend": "tpu"},
        {"upload_timeout": 0},
        {"prediction_timeout": -1},
        {"colour": "red"},
    ],
)
def test_impossible_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "hospital.example", ""])
def test_other_hosts_must_be_allowed(host: str) -> None:
    with pytest.raises(ValidationError, match="there is no authentication"):
        Settings(host=host)
    assert Settings(host=host, allow_remote=True).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_leave(host: str) -> None:
    assert Settings(host=host).host == host
    assert is_loopback(host)


def test_the_factory_needs_something_to_serve_and_reads_nothing() -> None:
    with pytest.raises(ValueError, match="nothing to serve"):
        create_app(Settings())
    first, second = (create_app(Settings(bundles=[Path("absent.bundle")])) for _ in range(2))
    assert first.state.jobs is not second.state.jobs


def test_two_bundles_of_one_file_name_both_count() -> None:
    app = create_app(Settings(bundles=[Path("a/model"), Path("b/model")]))
    assert [model.name for model in app.state.jobs.catalogue] == ["model", "model (1)"]
