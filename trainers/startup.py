"""What runs when Python starts, in an environment where ``enable`` was asked for: two watchers, nothing else.

A watcher acts when one certain module is imported. Python starts that import none of them pay for a few small
modules, and what goes wrong here never disturbs the program.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

# The module that nnU-Net's search looks into first; what it finds there, it needs to seek nowhere else.
FIRST_SEARCHED = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"
FIRST_REGISTERING = "torchvision._meta_registrations"


class Watcher:
    """Import hook that runs a function just before or just after a module's own code.

    Args:
        name: full name of the module.
        before: called with the empty module.
        after: called with the finished module.
    """

    def __init__(
        self,
        name: str,
        *,
        before: Callable[[ModuleType], None] | None = None,
        after: Callable[[ModuleType], None] | None = None,
    ) -> None:
        self.name = name
        self._before = before
        self._after = after

    def find_spec(self, name: str, path: Sequence[str] | None, target: Any = None) -> Any:
        """Find the watched module as the other finders would, and hook its execution (PEP 451)."""
        if name != self.name:
            return None
        others = (finder for finder in sys.meta_path if not isinstance(finder, Watcher))
        specs = (find(name, path, target) for find in (getattr(f, "find_spec", None) for f in others) if find)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            self._hook(spec.loader)
        return spec

    def _hook(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            _run_safely(self._before, module)
            execute(module)
            _run_safely(self._after, module)

        loader.exec_module = exec_module


def _run_safely(function: Callable[[ModuleType], None] | None, module: ModuleType) -> None:
    try:
        if function:
            function(module)
    except Exception as error:  # noqa: BLE001 - the import of another package must not fail because of us
        print(f"nnunet-losses: start-up hook for {module.__name__} failed: {error!r}", file=sys.stderr)  # noqa: T201


def attach(module: ModuleType) -> None:
    """Make all our trainers attributes of a module, after those that it has (PEP 562). Twice is as once."""
    present = getattr(module, "__getattr__", None)
    if getattr(present, "is_ours", False):
        return

    def find(name: str) -> Any:
        if present is not None:
            try:
                return present(name)
            except AttributeError:
                pass  # then it may be one of ours
        if not name.startswith("nnUNetTrainer"):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        from nnunet_losses import trainers

        return getattr(trainers, name)

    find.is_ours = True  # type: ignore[attr-defined]  # a function can carry attributes
    module.__getattr__ = find  # type: ignore[method-assign]  # what PEP 562 looks for


def watch_trainers() -> None:
    """Attach our trainers to nnU-Net as soon as it is imported; now, if it already is."""
    if FIRST_SEARCHED in sys.modules:
        attach(sys.modules[FIRST_SEARCHED])
    else:
        _watch(FIRST_SEARCHED, after=attach)


def watch_torchvision() -> None:
    """Declare the operators that a torchvision which does not fit torch lacks, just before it needs them."""
    _watch(FIRST_REGISTERING, before=_declare_missing_operators)


def _watch(name: str, **functions: Callable[[ModuleType], None]) -> None:
    watched = {finder.name for finder in sys.meta_path if isinstance(finder, Watcher)}
    if name not in watched and name not in sys.modules:
        sys.meta_path.insert(0, Watcher(name, **functions))


def _declare_missing_operators(_: ModuleType) -> None:
    from .torchvision_repair import declare_missing_operators

    declare_missing_operators()
