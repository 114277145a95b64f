"""Processes that end with the one that started them, however that ends."""

from __future__ import annotations

import os
import signal
import sys
import threading


def end_with_parent(*, group: bool = False) -> None:
    """End this process as soon as its standard input is closed, by will or by the death of who holds it.

    An interruption from the keyboard is left to that one: it knows that it was no failure.

    Args:
        group: end all processes of its group, too; for one that was started in a session of its own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_wait, args=(group,), daemon=True).start()


def _wait(group: bool) -> None:  # noqa: FBT001 - of a thread
    while os.read(sys.stdin.fileno(), 1):  # not through a buffer, whose lock would outlive the interpreter
        pass
    if group:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
