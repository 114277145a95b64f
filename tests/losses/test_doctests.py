"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

import nnunet_losses
from nnunet_losses import get_loss_spec, list_losses

LOSS_MODULES = {get_loss_spec(key).module.split(":")[0] for key in list_losses()}
MODULES = sorted(
    LOSS_MODULES | {"spec", "registry", "inputs", "targets", "softmax", "ranks", "overlap", "loss"}
)


def test_modules_exist():
    assert set(MODULES) <= {module.name for module in iter_modules(nnunet_losses.__path__)}


@pytest.mark.parametrize("name", ["__init__", *MODULES])
def test_examples(name):
    module = nnunet_losses if name == "__init__" else import_module(f"nnunet_losses.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name not in LOSS_MODULES
