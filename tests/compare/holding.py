"""A process that waits at a moment until it is ended: who interrupts it there may be as slow as he likes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Python imports this when it starts, before whatever imports the function.
SITE = """
import importlib, sys, time
from pathlib import Path

if {words!r} <= set(sys.orig_argv):
    module = importlib.import_module({module!r})
    function = getattr(module, {name!r})

    def call_and_wait(*arguments, **named):
        result = function(*arguments, **named)
        if ({condition})(*arguments, **named):
            Path({mark!r}).touch()
            while True:
                time.sleep(60)
        return result

    setattr(module, {name!r}, call_and_wait)
"""


@dataclass(frozen=True)
class Moment:
    """The end of a call.

    Attributes:
        words: of the command line of the process that waits; others are left alone.
        function: its module and name.
        condition: a function of its arguments, as text: whether this call is the one.
    """

    words: tuple[str, ...]
    function: str
    condition: str


def holding(folder: Path, moment: Moment) -> tuple[dict[str, str], Path]:
    """Return variables under which a process waits, and the file that appears when it does; into a folder."""
    mark = folder / "held"
    module, _, name = moment.function.rpartition(".")
    text = SITE.format(
        words=set(moment.words), module=module, name=name, condition=moment.condition, mark=str(mark)
    )
    (folder / "sitecustomize.py").write_text(text)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path}, mark
