"""The real engine: a bundle behind the service's protocol."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .engine import Opener
    from .settings import Settings


def openers(settings: Settings) -> Mapping[str, Opener]:
    """One function per bundle that opens it, by the bundle's file name (numbered where two are alike)."""
    found: dict[str, Opener] = {}
    for index, path in enumerate(settings.bundles):
        label = path.name if path.name not in found else f"{path.name} ({index})"
        found[label] = partial(BundleEngine.open, path, settings)
    return found


class BundleEngine:
    """Placeholder until the predictor lands."""

    @classmethod
    def open(cls, path, settings):
        raise NotImplementedError
