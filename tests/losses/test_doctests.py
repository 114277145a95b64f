"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

import nnunet_losses
from nnunet_losses import geometry, get_loss_spec, list_losses

LOSS_MODULES = {get_loss_spec(key).module.split(":")[0] for key in list_losses()}
MODULES = sorted(
    LOSS_MODULES
    | {"spec", "registry", "inputs", "targets", "softmax", "ranks", "overlap", "loss", "schedule"}
    | {"segments", "weighted", "prediction_distance", "extras"}
    | {f"geometry.{name}" for name in ("distance", "components", "morphology", "maps", "recipe")}
)


def test_modules_exist():
    packages = {"": nnunet_losses.__path__, "geometry.": geometry.__path__}
    found = {prefix + module.name for prefix, path in packages.items() for module in iter_modules(path)}
    assert set(MODULES) <= found


@pytest.mark.parametrize("name", ["__init__", *MODULES])
def test_examples(name):
    module = nnunet_losses if name == "__init__" else import_module(f"nnunet_losses.{name}")
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name not in LOSS_MODULES
