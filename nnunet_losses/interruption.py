"""SIGTERM and SIGHUP interrupt a command as Ctrl-C does, so that nothing half-written is left behind."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from .ending import ExitCode

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
_MEANT = 3  # GNU timeout sends its signal twice, and systemd both: only who sends three cannot wait


class Interruption:
    """What signals did to this process. There is one, ``INTERRUPTION``.

    Attributes:
        received: the signal that interrupts the command; None while there is none, and after Ctrl-C.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._count = 0
        self._process = 0
        self._taken: list[int] = []

    def listen(self) -> None:
        """Raise KeyboardInterrupt in the main thread, from which this is called, when a signal arrives.

        A signal that is ignored stays so: ``nohup`` means it.
        """
        self._process = os.getpid()
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._interrupt)
                self._taken.append(number)

    def let_go(self) -> None:
        """Give the signals their usual effect back; for commands that have an end of their own."""
        while self._taken:
            signal.signal(self._taken.pop(), signal.SIG_DFL)

    @property
    def exit_code(self) -> int:
        """Of an interrupted command, as shells have it: 128 and the signal's number."""
        return ExitCode.INTERRUPTED if self.received is None else 128 + self.received

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        self._count += 1
        if os.getpid() != self._process or self._count == _MEANT:  # a forked child has nothing to tidy up
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self.received is None:
            self.received = signal.Signals(number)
            raise KeyboardInterrupt


INTERRUPTION = Interruption()
