"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module
from pkgutil import iter_modules

import pytest

from nnunet_losses.serve import metrics

MODULES = sorted(module.name for module in iter_modules(metrics.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = import_module(f"{metrics.__name__}.{name}")
    assert doctest.testmod(module).failed == 0
