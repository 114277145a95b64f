"""What an operator says of archives, and what is wrong with it, before the server listens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.http.archive_settings import ArchivesUnusable, archive_list, check_archives
from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.http.worker_plans import worker_plans

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://pacs.example/dicom-web"
SECRET = "s3cret-word"


def settings(**values: Any) -> Settings:
    return Settings(bundles=["a.bundle"], backend="cpu", dicomweb={"pacs": URL + "/"}, **values)


def test_nobody_is_listed_by_default() -> None:
    assert archive_list(Settings()).places == ()


def test_workers_get_addresses_and_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"pacs": {"user": "reader", "password": SECRET}}
    (tmp_path / "file.json").write_text(json.dumps(known))
    monkeypatch.setenv("NNUNET_LOSSES_DICOMWEB_CREDENTIALS", json.dumps(known))
    for chosen in (settings(), settings(dicomweb_credentials_file=tmp_path / "file.json")):
        (plan,) = worker_plans(chosen)
        (place,) = plan.archives.places
        assert (place.url, place.authorization) == (URL, "Basic cmVhZGVyOnMzY3JldC13b3Jk")
        assert plan.archives.fetch_bytes == chosen.max_body_bytes
        assert plan == type(plan).model_validate(plan.model_dump(mode="json"))
        for shown in (repr(plan), repr(chosen), chosen.model_dump_json()):
            assert SECRET not in shown
            assert "cmVhZGVy" not in shown
    monkeypatch.delenv("NNUNET_LOSSES_DICOMWEB_CREDENTIALS")
    token = settings(dicomweb_credentials={"pacs": {"token": "abc"}})
    assert archive_list(token).places[0].authorization == "Bearer abc"


@pytest.mark.parametrize(
    "url",
    [
        "pacs.example/dicom-web",
        "ftp://pacs.example/",
        "https://reader:s3cret-word@pacs.example/",
        "https://pacs.example/?a=b",
        "https:///dicom-web",
    ],
)
def test_addresses_without_secrets(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(dicomweb={"pacs": url})
    assert "without user, query and fragment" in caught.value.errors()[0]["msg"]
    assert SECRET not in caught.value.errors()[0]["msg"]


@pytest.mark.parametrize("name", ["", "pacs two", "a/b", "x" * 33, ".."])
def test_names_that_can_be_told(name: str) -> None:
    with pytest.raises(ValidationError):
        Settings(dicomweb={name: URL})


@pytest.mark.parametrize("content", [f'{{"pacs": {{"user": "{SECRET}"}}}}', f'{{"pacs": "{SECRET}"}}', "{"])
def test_files_that_hold_something_else(tmp_path: Path, content: str) -> None:
    (tmp_path / "file.json").write_text(content)
    for path in (tmp_path / "file.json", tmp_path / "absent.json"):
        with pytest.raises(ArchivesUnusable) as caught:
            check_archives(settings(dicomweb_credentials_file=path))
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "variable"),
    [
        ([], f'{{"pacs": {SECRET}'),
        ([], f'{{"pacs": {{"user": "{SECRET}"}}}}'),
        (["--dicomweb", "pacs"], "{}"),
        (["--dicomweb", f"pacs={URL}", "--dicomweb", f"pacs={URL}"], "{}"),
        (["--dicomweb", f"pacs=https://reader:{SECRET}@pacs.example/"], "{}"),
    ],
)
def test_the_command_says_so_without_secrets(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], variable: str
) -> None:
    monkeypatch.setenv("NNUNET_LOSSES_DICOMWEB_CREDENTIALS", variable)
    result = CliRunner().invoke(app, ["serve", "absent.bundle", *arguments])
    assert result.exit_code == 2
    assert "dicomweb" in result.stderr
    assert not any(word in result.output for word in (SECRET, "Traceback"))


def test_credentials_for_nobody_and_authorities_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ArchivesUnusable, match="no such archive"):
        check_archives(settings(dicomweb_credentials={"other": {"token": "a"}}))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ArchivesUnusable, match="PEM"):
        check_archives(settings(dicomweb_ca=tmp_path / "ca.pem"))


def test_archives_without_tls_are_told() -> None:
    assert check_archives(settings()) == ()
    assert check_archives(Settings(dicomweb={"own": "http://127.0.0.1:8042/dicom-web"})) == ()
    (warning,) = check_archives(Settings(dicomweb={"far": "http://pacs.example/dicom-web"}))
    assert "far is talked to without TLS" in warning
