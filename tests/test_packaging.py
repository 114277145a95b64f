"""What a wheel holds: exactly the tree's modules, under one name."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest

from .conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE_DIR = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel that was built from a copy of the tracked and untracked files."""
    source = tmp_path_factory.mktemp("source")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    files = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def installed_name(path: Path) -> str:
    """Where a module of the checkout lies in the wheel."""
    folder, _, rest = path.relative_to(ROOT).as_posix().partition("/")
    package = next(name for name, where in PACKAGE_DIR.items() if where == folder)
    return f"{package.replace('.', '/')}/{rest}"


def test_wheel_holds_exactly_the_modules(wheel_names: set[str]) -> None:
    modules = {
        installed_name(path)
        for folder in PACKAGE_DIR.values()
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert {name for name in wheel_names if name.endswith(".py")} == modules


def test_wheel_has_one_top_level_name(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"nnunet_losses"}


def test_wheel_holds_the_notes(wheel_names: set[str]) -> None:
    written = {f"nnunet_losses/notes/{path.name}" for path in (ROOT / "nnunet_losses/notes").glob("*.[tj]*")}
    assert len(written) > 1
    assert written <= wheel_names


def test_wheel_holds_the_page(wheel_names: set[str]) -> None:
    folder = ROOT / "serve" / "http" / "page"
    page = {installed_name(path) for path in folder.rglob("*") if path.is_file()}
    assert {path.rpartition("/")[2] for path in page} >= {"index.html", "app.js", "niivue.umd.js"}
    assert page <= wheel_names


def test_wheel_is_typed_and_licensed(wheel_names: set[str]) -> None:
    assert "nnunet_losses/py.typed" in wheel_names
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)
