"""Findings about PyTorch, torchvision and nnU-Net, and whether nnU-Net finds our trainers."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from nnunet_losses.extras import install_command

from . import probes
from .findings import Finding, State
from .plugin import DISCOVERY, TRAINERS_HOOK, VARIABLE, enabled

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTED = "2.8.1"
EXAMPLE = "nnUNetTrainerDiceTopK"


def is_installed(module: str) -> bool:
    """Whether a top-level module can be found, without importing it."""
    return find_spec(module) is not None


def examine() -> Iterator[Finding]:
    """Yield the findings about training and export."""
    has_torch, has_nnunet = is_installed("torch"), is_installed("nnunetv2")
    yield _torch() if has_torch else _absent("torch")
    yield _nnunet() if has_nnunet else _absent("nnunetv2")
    if has_torch and has_nnunet:
        yield _torchvision()
        yield _trainers()


def _absent(name: str) -> Finding:
    text = "not installed (needed for training and export only)"
    return Finding(name, State.NOTE, text, install_command("train"))


def _torch() -> Finding:
    answer = probes.ask("torch")
    if "error" in answer:
        return Finding(
            "torch", State.BROKEN, answer["error"], "Reinstall PyTorch: https://pytorch.org/get-started"
        )
    return Finding("torch", State.OK, f"{answer['version']}, {answer['gpus'] or 'no'} GPU visible")


def _nnunet() -> Finding:
    try:
        found = version("nnunetv2")
    except PackageNotFoundError:
        return Finding("nnunetv2", State.WARNING, f"its version is unknown; tested is {TESTED}")
    release = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if release == (2, 8):
        return Finding("nnunetv2", State.OK, f"{found} (supported: >=2.8,<2.9; tested: {TESTED})")
    state = State.WARNING if release > (2, 8) else State.BROKEN
    return Finding(
        "nnunetv2", state, f"{found} is outside the supported range >=2.8,<2.9",
        f'pip install "nnunetv2>=2.8,<2.9" "torch=={version("torch").partition("+")[0]}"',
    )  # fmt: skip


def lacks_operators(error: str) -> bool:
    """Whether torchvision failed because its compiled operators could not be loaded beside this PyTorch."""
    return "operator torchvision::" in error


def reinstall_torchvision() -> str:
    """Command that installs the torchvision built for the installed PyTorch."""
    release, _, build = version("torch").partition("+")
    fitting = f"0.{int(release.split('.')[1]) + 15}.*"  # torchvision 0.(N+15) belongs to torch 2.N
    index = f" --index-url https://download.pytorch.org/whl/{build}" if build else ""
    return f'pip install --no-deps --force-reinstall "torchvision=={fitting}"{index}'


def _torchvision() -> Finding:
    if not is_installed("torchvision"):
        return Finding(
            "torchvision", State.BROKEN, "not installed, and nnU-Net imports it", reinstall_torchvision()
        )
    answer = probes.ask("torchvision")
    error = answer.get("error", "")
    if lacks_operators(error):
        text = (
            "does not fit torch: its operators cannot be loaded, and nnU-Net's search for trainers breaks off"
        )
        return Finding(
            "torchvision", State.BROKEN, text, f"{reinstall_torchvision()}, or: nnunet-losses doctor --mend"
        )
    if error:
        return Finding("torchvision", State.BROKEN, error, reinstall_torchvision())
    if not answer["operators"]:
        text = f"{answer['version']} can be imported, its operators (which nnU-Net does not use) are missing"
        return Finding("torchvision", State.NOTE, text)
    return Finding("torchvision", State.OK, answer["version"])


def _trainers() -> Finding:
    subject = "trainers"
    answer = probes.ask("trainer", EXAMPLE)
    ways = _ways()
    if "found" in answer:
        return Finding(
            subject,
            State.OK,
            f"nnUNetv2_train finds {EXAMPLE} through {' and '.join(ways) or 'its own search'}",
        )
    if not ways and "Could not find requested" in answer["error"]:
        text = "nnUNetv2_train does not find them: neither the start-up hook nor nnUNet_extTrainer is set"
        return Finding(subject, State.WARNING, text, 'nnunet-losses enable, or: eval "$(nnunet-losses env)"')
    return Finding(
        subject, State.BROKEN, f"nnU-Net's search fails: {answer['error'][:300]}",
        "mend what is broken above, then: nnunet-losses enable",
    )  # fmt: skip


def _ways() -> list[str]:
    hook = ["the start-up hook"] if any(path.name == TRAINERS_HOOK for path in enabled()) else []
    folders = os.environ.get(VARIABLE, "").split(os.pathsep)
    return hook + ([VARIABLE] if str(DISCOVERY) in folders else [])
