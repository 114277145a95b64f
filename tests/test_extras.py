"""What to install is said with packages that pip finds, everywhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.metadata import PackageNotFoundError, requires

import pytest
from packaging.requirements import Requirement

from nnunet_losses import extras
from nnunet_losses.extras import install_command

from .conftest import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
SOURCES = {
    path: path.read_text()
    for folder in ("nnunet_losses", "trainers", "export", "serve", "compare")
    for path in (ROOT / folder).rglob("*.py")
}


@pytest.fixture
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as pyproject.toml has it now, whatever is installed."""
    lines = [f'{package}; extra == "{extra}"' for extra, packages in EXTRAS.items() for package in packages]
    monkeypatch.setattr(extras, "requires", lambda _: ["numpy>=1.26", *lines])


def resolved(extra: str) -> set[str]:
    """The packages of an extra, and of those that it takes along."""
    found: set[str] = set()
    for package in EXTRAS[extra]:
        own = Requirement(package)
        found |= set().union(*map(resolved, own.extras)) if own.name == "nnunet-losses" else {package}
    return found


@pytest.mark.usefixtures("_declared")
@pytest.mark.parametrize("extra", EXTRAS)
def test_every_package_of_an_extra_is_named(extra: str) -> None:
    pip, install, *packages = shlex.split(install_command(extra, anew=True))
    assert (pip, install) == ("pip", "install")
    assert set(packages) == resolved(extra)
    assert "nnunet-losses" not in {Requirement(package).name for package in packages}


@pytest.mark.usefixtures("_declared")
def test_what_is_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def distribution(name: str) -> None:
        if name != "onnxruntime":
            raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", distribution)
    (openvino,) = (package for package in EXTRAS["cpu"] if package.startswith("openvino"))
    assert install_command("cpu") == f'pip install "{openvino}"'
    assert "onnxruntime>" in install_command("cpu", anew=True)


@pytest.mark.usefixtures("_declared")
def test_where_nothing_is_missing_all_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "distribution", lambda _: None)
    assert install_command("cpu") == install_command("cpu", anew=True)


@pytest.mark.usefixtures("_declared")
def test_packages_of_two_extras_are_named_once() -> None:
    packages = shlex.split(install_command("export", "compare", anew=True))
    assert len(packages) == len(set(packages))
    assert set(EXTRAS["train"]) < set(packages)


def test_a_checkout_that_was_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", absent)
    assert install_command("serve", "cpu").startswith('pip install -e ".[serve,cpu]"')
    monkeypatch.setattr(extras, "requires", lambda _: [])
    assert install_command("serve", "cpu").startswith('pip install -e ".[serve,cpu]"')


def test_the_installed_package_says_what_it_needs() -> None:
    needed = requires("nnunet-losses") or []
    (openvino,) = (text.partition(";")[0] for text in needed if text.startswith("openvino"))
    assert f'"{openvino}"' in install_command("cpu", anew=True)
    markers = {text.partition(";")[2].strip() for text in needed} - {""}
    assert [marker for marker in markers if not re.fullmatch(r'extra == "[\w-]+"', marker)] == []


def test_nobody_sends_users_to_a_name_that_pip_does_not_know() -> None:
    wrong = [
        path.name for path in SOURCES if re.search(r"pip install[^\n]*nnunet-losses\[", path.read_text())
    ]
    assert wrong == []


def test_extras_that_are_named_exist() -> None:
    calls = re.findall(
        r"install_command\((['\"][^)]*?)(?:, anew=True)?\)", "".join(path.read_text() for path in SOURCES)
    )
    named = {name for call in calls for name in re.findall(r"['\"]([\w-]+)['\"]", call)}
    assert {"cpu", "cuda", "serve", "train"} < named <= set(EXTRAS)
