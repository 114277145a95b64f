"""``nnunet-losses serve``: what the operator reads."""

from __future__ import annotations

import logging.config
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import uvicorn
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.bundle import Bundle

from .fakes import description

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A bundle that can be described, behind a server that ends at once."""
    rgb = description(name="rgb", channels=("R", "G", "B"), reader="NaturalImage2DIO", ending=".png")
    models = {"brain.bundle": description(), "rgb.bundle": rgb}
    monkeypatch.setattr(Bundle, "load", lambda path, **_: Bundle(path, models[path.name]))
    monkeypatch.setattr(uvicorn.Server, "run", lambda _, sockets: [listener.close() for listener in sockets])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(logging.config, "dictConfig", lambda _: None)
    return tmp_path / "brain.bundle"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["serve", *map(str, arguments)])


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output
    assert [word for word in words if word not in result.stderr] == []


def test_it_says_where_it_listens_and_how_to_call_it(bundle: Path) -> None:
    result = run(bundle, bundle.with_name("rgb.bundle"), "--port", 0)
    assert result.exit_code == 0, result.output
    listening, jobs, brain, rgb = result.stdout.splitlines()
    assert "forgotten when the server stops" in jobs
    url = listening.split()[2]
    assert url.startswith("http://127.0.0.1:")
    expected = "-F model=brain -F T1=@T1.nii.gz -F FLAIR=@FLAIR.nii.gz --output reply.multipart"
    assert brain == f"brain: curl {expected} {url}/v1/segment"
    assert rgb == f"rgb: curl -F model=rgb -F image=@image.png --output reply.multipart {url}/v1/segment"
    assert result.stderr == ""


def test_other_hosts_are_refused_until_allowed_with_a_warning(bundle: Path) -> None:
    refused(run(bundle, "--host", "0.0.0.0"), "'0.0.0.0'", "no authentication", "--allow-remote")
    result = run(bundle, "--host", "0.0.0.0", "--port", 0, "--allow-remote")
    assert result.exit_code == 0
    assert "callers are not authenticated" in result.stderr


def test_ipv6_addresses_are_written_as_urls(bundle: Path) -> None:
    result = run(bundle, "--host", "::1", "--port", 0)
    if result.exit_code == 2:
        pytest.skip("this machine has no IPv6")
    assert "http://[::1]:" in result.stdout


def test_a_taken_port_is_named(bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(run(bundle, "--port", port), f"port {port}", "--port")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "99999"], ["port is 99999:"]),
        (["--threads", "0"], ["threads is 0:"]),
        (["--max-body-mb", "0"], ["max_body_bytes"]),
        (["--host", "no.such.host.invalid", "--allow-remote"], ["no.such.host.invalid"]),
    ],
)
def test_impossible_options_are_named(bundle: Path, options: Sequence[str], words: Sequence[str]) -> None:
    refused(run(bundle, *options), *words)


def test_without_a_bundle_there_is_nothing_to_serve() -> None:
    refused(run(), "nothing to serve", "nnunet-losses serve BUNDLE")


def test_bundles_of_one_name_are_not_served_together(bundle: Path) -> None:
    refused(run(bundle, bundle), "two bundles are called brain", "--name")


def test_the_environment_can_name_the_bundle(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNUNET_LOSSES_BUNDLES", str(bundle))
    monkeypatch.setenv("NNUNET_LOSSES_PORT", "0")
    assert "brain: curl" in run().stdout


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_what_is_no_bundle_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "thing.bundle"
    if content is not None:
        path.write_bytes(content)
    refused(run(path), "thing.bundle", "bundle.unreadable", "nnunet-losses export")


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "pydantic_settings", "python_multipart"])
def test_a_missing_extra_is_named_with_the_cure(missing: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        f"from nnunet_losses.cli import app; app(['serve', {str(tmp_path)!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"needs {missing}" in done.stderr
    assert "pip install" in done.stderr
    assert f'"{missing.replace("_", "-")}>' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_is_light() -> None:
    code = (
        "import sys, nnunet_losses.serve.http.commands\n"
        "heavy = {'fastapi', 'uvicorn', 'numpy', 'torch', 'SimpleITK', 'pydantic_settings'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
