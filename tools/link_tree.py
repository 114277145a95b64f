"""Link the folders as they install: type checkers then find ``nnunet_losses.serve`` in ``serve/``."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREE = ROOT / ".typecheck"


def package_folders() -> dict[str, Path]:
    """Top-level folder of each installed package, from pyproject.toml's ``package-dir``."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    return {name: ROOT / folder for name, folder in settings["package-dir"].items()}


def build() -> Path:
    """Make the tree anew and return it."""
    shutil.rmtree(TREE, ignore_errors=True)
    folders = package_folders()
    top = TREE / "nnunet_losses"
    top.mkdir(parents=True)
    for entry in (ROOT / "nnunet_losses").iterdir():
        (top / entry.name).symlink_to(entry)
    for name, folder in folders.items():
        if name != "nnunet_losses":
            (top / name.removeprefix("nnunet_losses.")).symlink_to(folder)
    return TREE


if __name__ == "__main__":
    print(build())
