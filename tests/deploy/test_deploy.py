"""The recipes for containers: linted, held against their schema, and against what this repository has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from nnunet_losses.serve.http.settings import Settings

from ..conftest import ROOT, require

DEPLOY = ROOT / "deploy"
DOCKERFILES = sorted(DEPLOY.glob("Dockerfile*"))
COMPOSE = DEPLOY / "compose.yaml"


def program(name: str) -> str:
    """A program that came with this interpreter's packages."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    require(found, f"{name} is not installed")
    assert found is not None
    return found


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return content


def by_name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", DOCKERFILES, ids=by_name)
def test_dockerfiles_are_linted(path: Path) -> None:
    result = subprocess.run(
        [program("hadolint"), "--failure-threshold", "style", str(path)], capture_output=True, check=False
    )
    assert result.returncode == 0, result.stdout.decode()


def test_the_linter_finds_something(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nRUN cd /tmp && sudo pip install x\n")
    result = subprocess.run([program("hadolint"), str(bad)], capture_output=True, check=False)
    assert b"DL3004" in result.stdout  # sudo


@pytest.mark.parametrize(("harm", "accepted"), [("", True), ("\nservice: {}\n", False)])
def test_compose_is_what_its_schema_says(harm: str, *, accepted: bool, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE.read_text() + harm)
    command = [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(file)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (result.returncode == 0) is accepted, result.stdout


@pytest.mark.parametrize("path", DOCKERFILES, ids=by_name)
def test_images_are_pinned_and_run_as_nobody_special(path: Path) -> None:
    text = path.read_text()
    assert all(
        re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+-[a-z-]+", image) for image in re.findall(r"FROM (\S+)", text)
    )
    assert text.rindex("USER 10001:10001") < text.rindex("ENTRYPOINT")
    assert "HEALTHCHECK" in text
    (command,) = re.findall(r"^ENTRYPOINT (.*)$", text, flags=re.MULTILINE)
    assert command == '["nnunet-losses", "serve"]'


@pytest.mark.parametrize("path", DOCKERFILES, ids=by_name)
def test_extras_exist_and_bring_no_torch(path: Path) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (extras,) = re.findall(r"\"\.\[([a-z0-9,]+)\]\"", path.read_text())
    wanted = [requirement for extra in extras.split(",") for requirement in known[extra]]
    assert not [requirement for requirement in wanted if "torch" in requirement or "train" in requirement]


def test_variables_are_settings() -> None:
    text = "".join(path.read_text() for path in (*DOCKERFILES, COMPOSE))
    used = {name.lower() for name in re.findall(r"NNUNET_LOSSES_([A-Z_]+)[=:]", text)}
    assert used
    assert used <= set(Settings.model_fields)


def test_the_builder_gets_every_package() -> None:
    """setuptools fails for a package whose folder .dockerignore keeps away."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = setuptools["package-dir"].values()
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:].rstrip("/") for line in lines if line[:1] == "!"}
    assert set(folders) <= sent
    assert {"pyproject.toml", "README.md", "LICENSE", "constraints.txt"} <= sent


def test_compose_publishes_on_the_loopback_interface_and_keeps_no_password() -> None:
    services = compose()["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert all(
        re.search(r":[0-9.]+(-[a-z]+)?$", service["image"]) or "build" in service
        for service in services.values()
    )
    passwords = [value for service in services.values() for name, value in service["environment"].items()
                 if "PASSWORD" in name or "USERS" in name]  # fmt: skip
    assert passwords
    assert all("${" in value for value in passwords)
