"""How to install what an extra of this package needs. Every room says it with these words."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires

_NAME = "nnunet-losses"
_OWN_EXTRAS = re.compile(rf"{_NAME}\[([\w,-]+)\]")  # an extra that takes others along


def install_command(*extras: str, anew: bool = False) -> str:
    """Give the command that installs what is missing of some extras.

    It names the packages themselves: this one's own name helps only where an index has it, and the path of
    a checkout does not belong into the answers of a service.

    Args:
        extras: names of optional dependencies of this package, as in its pyproject.toml.
        anew: name what is installed, too: it is to be uninstalled first.

    Example:
        >>> install_command("mesh").startswith("pip install ")
        True
    """
    try:
        declared = requires(_NAME) or []
        needed = dict.fromkeys(package for extra in extras for package in _requirements(extra, declared))
    except (PackageNotFoundError, KeyError):  # a checkout that was not installed since it got the extra
        return f'pip install -e ".[{",".join(extras)}]" in the checkout of {_NAME}'
    missing = [package for package in needed if anew or not _is_installed(package)]
    # where nothing is missing, something is broken, and pip looks at all of it
    return "pip install " + " ".join(f'"{package}"' for package in missing or needed)


def _requirements(extra: str, declared: list[str]) -> list[str]:
    """List the packages of an extra, with those of the extras that it takes along."""
    marker = f'extra == "{extra}"'
    own = [text.partition(";")[0].strip() for text in declared if text.partition(";")[2].strip() == marker]
    if not own:
        raise KeyError(extra)
    found: list[str] = []
    for package in own:
        along = _OWN_EXTRAS.fullmatch(package)
        others = along[1].split(",") if along else []
        found += [one for other in others for one in _requirements(other, declared)] if along else [package]
    return found


def _is_installed(package: str) -> bool:
    name = re.match(r"[\w.-]+", package)
    assert name is not None, "pip wrote the requirement"
    try:
        distribution(name[0])
    except PackageNotFoundError:
        return False
    return True
