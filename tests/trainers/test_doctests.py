"""The examples in the docstrings of the trainers."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

from nnunet_losses import trainers
from nnunet_losses.trainers import plugin

MODULES = ["nnunet_losses.trainers"] + [
    f"nnunet_losses.trainers.{module.name}"
    for module in pkgutil.iter_modules(trainers.__path__)
    if not module.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugin.VARIABLE, "")  # register() changes it
    assert doctest.testmod(import_module(name)).failed == 0
