"""Three ways for nnU-Net to find the trainers: in this process, by environment variable, by start-up hook."""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

from .files import write_atomically
from .startup import FIRST_SEARCHED, attach, watch_torchvision

VARIABLE = "nnUNet_extTrainer"
DISCOVERY = Path(__file__).parent / "discovery"

_HOOKS = {
    "nnunet_losses_trainers.pth": "watch_trainers",
    "nnunet_losses_torchvision.pth": "watch_torchvision",
}
TRAINERS_HOOK, TORCHVISION_HOOK = _HOOKS
# A .pth file runs those of its lines that begin with "import"; what such a line cannot say, exec can.
_HOOK_TEXT = (
    '# Written by "nnunet-losses enable" or "doctor --mend"; "nnunet-losses disable" removes it.\n'
    'import sys; exec("try:\\n from nnunet_losses.trainers import startup\\n'
    ' startup.{function}()\\nexcept Exception: pass")\n'
)


class CannotEnableError(RuntimeError):
    """The environment does not take start-up hooks; the message says why and what to do instead."""


def register() -> None:
    """Let nnU-Net find our trainers in this process, and in processes that it starts.

    For your own programs: ``nnUNetPredictor`` and ``run_training`` then find every name. Also lets a
    torchvision that does not fit PyTorch be imported, see ``torchvision_repair``. Calling it again
    changes nothing.

    Raises:
        ImportError: nnunetv2 is not installed.

    Example:
        >>> register()
        >>> from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
        >>> recursive_find_trainer_class_by_name("nnUNetTrainerDice_5epochs").epochs
        5
    """
    watch_torchvision()
    attach(import_module(FIRST_SEARCHED))
    os.environ[VARIABLE] = search_path(os.environ.get(VARIABLE, ""))


def search_path(present: str) -> str:
    """Append our folder to a value of ``nnUNet_extTrainer``, unless it is there.

    Example:
        >>> search_path("/my/trainers").startswith("/my/trainers" + os.pathsep)
        True
    """
    folders = [folder for folder in present.split(os.pathsep) if folder.strip()]
    ours = str(DISCOVERY)
    return os.pathsep.join(folders if ours in folders else [*folders, ours])


def enable(*hooks: str) -> list[Path]:
    """Write start-up hooks into this environment, so that every nnU-Net command in it finds our trainers.

    Args:
        *hooks: ``TRAINERS_HOOK``, ``TORCHVISION_HOOK``; none means both.

    Returns:
        The files. Each holds one line of code, does nothing once this package is uninstalled, and is
        removed by ``disable``.

    Raises:
        CannotEnableError: the environment belongs to the operating system, or cannot be written.
    """
    _refuse_managed()
    folder = site_packages()
    try:
        for name in hooks or _HOOKS:
            text = _HOOK_TEXT.format(function=_HOOKS[name])
            if not _holds(folder / name, text):
                write_atomically(folder / name, text)
    except OSError as error:
        raise CannotEnableError(
            f"{folder} cannot be written ({error.strerror or error}). Make a virtual environment, or use "
            'eval "$(nnunet-losses env)" in the shell instead.'
        ) from error
    return [folder / name for name in hooks or _HOOKS]


def disable() -> list[Path]:
    """Remove the start-up hooks from this environment; return the files that were there.

    Raises:
        CannotEnableError: a file cannot be removed.
    """
    present = enabled()
    try:
        for path in present:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise CannotEnableError(
            f"{error.filename} cannot be removed ({error.strerror}). Remove it by hand."
        ) from error
    return present


def enabled() -> list[Path]:
    """List the start-up hooks that are in this environment."""
    return [path for path in (site_packages() / name for name in _HOOKS) if path.is_file()]


def site_packages() -> Path:
    """Where this environment keeps its packages."""
    return Path(sysconfig.get_path("purelib"))


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _refuse_managed() -> None:
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    if sys.prefix == sys.base_prefix and marker.exists():
        raise CannotEnableError(
            f"The Python in {sys.prefix} is managed by the operating system ({marker} says so). Make a "
            'virtual environment, or use eval "$(nnunet-losses env)" in the shell instead.'
        )
