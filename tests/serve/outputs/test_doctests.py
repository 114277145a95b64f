"""The examples in the documentation of formats, outputs, decoding and archives run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("outputs", "decode", "dicomweb", "formats.dicom", "formats.turning")


def modules() -> list[str]:
    names = []
    for package in PACKAGES:
        name = f"nnunet_losses.serve.{package}"
        found = importlib.import_module(name)
        names += [
            name,
            *(f"{name}.{entry.name}" for entry in pkgutil.iter_modules(getattr(found, "__path__", []))),
        ]
    return names


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
