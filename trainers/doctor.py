"""Examines an environment: what is missing or broken, and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import doctor_engines, doctor_environment, doctor_training, probes
from .findings import Finding, State
from .plugin import TORCHVISION_HOOK, CannotEnableError, enable

if TYPE_CHECKING:
    from collections.abc import Iterator


def examine() -> Iterator[Finding]:
    """Yield all findings, causes before effects. Takes some seconds: it imports everything."""
    yield doctor_environment.python_version()
    yield from doctor_training.examine()
    yield from doctor_engines.examine()
    yield from doctor_environment.examine()


def mend() -> Finding:
    """Repair a torchvision whose operators do not fit PyTorch, if it is that; change nothing otherwise.

    Writes the start-up hook ``TORCHVISION_HOOK`` into this environment; ``nnunet-losses disable`` removes it.
    """
    subject = "torchvision repair"
    if not (doctor_training.is_installed("torch") and doctor_training.is_installed("torchvision")):
        return Finding(subject, State.NOTE, "torch or torchvision is not installed: nothing to repair")
    error = probes.ask("torchvision").get("error", "")
    if not error:
        return Finding(subject, State.OK, "torchvision can be imported: nothing to repair")
    if not doctor_training.lacks_operators(error):
        return Finding(
            subject, State.WARNING, f"not of the kind that can be repaired here: {error}",
            doctor_training.reinstall_torchvision(),
        )  # fmt: skip
    try:
        (path,) = enable(TORCHVISION_HOOK)
    except CannotEnableError as refusal:
        return Finding(subject, State.BROKEN, str(refusal), doctor_training.reinstall_torchvision())
    return Finding(
        subject, State.OK, f'{path} declares the missing operators; "nnunet-losses disable" undoes it'
    )
