"""Libraries that only some outputs need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from nnunet_losses.extras import install_command
from nnunet_losses.serve.errors import Code, Refusal


def import_library(name: str, extra: str) -> Any:
    """Import a library of an extra.

    Raises:
        Refusal: ``output.not_installed``.
    """
    try:
        return import_module(name)
    except ImportError:
        raise not_installed(name, extra) from None


def not_installed(name: str, extra: str) -> Refusal:
    """A refusal that says how to get a library."""
    return Refusal(
        Code.OUTPUT_NOT_INSTALLED,
        f"This output needs {name}, which is not installed.",
        remedy=f"Install it with: {install_command(extra)}",
        observed=name,
    )
