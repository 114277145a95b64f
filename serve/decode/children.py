"""The processes that decode, kept warm: started once, used for many files, replaced after a fault."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Limits

from .budget import Budget
from .messages import Question, image_of, receive, refusal_of, send

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Reader

MOST_IDLE = 2
EXIT_SECONDS = 10.0  # between the end of a process's answers and its exit
MOST_USES = 500  # files after which a process is replaced, so that no leak of a decoder adds up
REMEDY = "Export the image again, or convert it to NIfTI, and send that file."
# Keys and passwords in the service's environment are none of a decoder's business.
ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_FAULTS: Mapping[Code, str] = {
    Code.INPUT_DECODER_FAILED: "The decoder broke down over this input.",
    Code.INPUT_DECODER_TIMEOUT: "Decoding this input took too long.",
    Code.INPUT_DECODER_MEMORY: "Decoding this input needs more memory than it may have.",
}


def read_in_child(
    files: Sequence[Path],
    reader: Reader,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    orientation: str | None = None,
    budget: Budget = Budget(),  # noqa: B008 - frozen
) -> Image:
    """Check and read the files of one case in another process. Several threads may call it at once.

    Args:
        files: as for ``read_image``.
        reader: as for ``read_image``.
        limits: as for ``read_image``.
        orientation: as for ``read_image``: the description's.
        budget: what the other process may cost.

    Returns:
        What ``read_image`` returns, voxel for voxel. The voxels lie in memory of their own, which nobody
        else can change.

    Raises:
        Refusal: as ``read_image``; besides ``input.decoder_failed``, ``input.decoder_timeout`` and
            ``input.decoder_memory`` where the decoder crashed, or went past its budget.

    Example:
        >>> from pathlib import Path
        >>> from nnunet_losses.serve.schema import Reader
        >>> image = read_in_child([Path("brain.nii.gz")], Reader.SIMPLE_ITK)  # doctest: +SKIP
    """
    costs = {
        "memory_bytes": budget.memory(limits),
        "cpu_seconds": budget.cpu_seconds,
        "wall_seconds": budget.wall_seconds,
        "output_bytes": budget.output(limits),
    }
    question = Question(tuple(files), reader, limits, orientation, costs)
    child = _POOL.take()
    try:
        return child.ask(question.message(), budget.wall_seconds)
    finally:
        _POOL.give_back(child)


def warm_up() -> None:
    """Start a process now, so that the first file need not wait for it (about a second)."""
    _POOL.give_back(_POOL.take())


def stop_children() -> None:
    """End the processes that wait for files."""
    _POOL.close()


class _Child:
    """One process, and our end of its socket."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        module = "nnunet_losses.serve.decode.child"
        command = [sys.executable, "-m", module, str(theirs.fileno())]
        known = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, in our own interpreter
                command,
                pass_fds=[theirs.fileno()],
                env=known | single,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders write file names and contents there
            )
        self._channel = ours
        self._uses = 0
        self._is_late = False
        self.usable = True

    def ask(self, request: Mapping[str, Any], seconds: float) -> Image:
        """Send a question and wait for the answer; after a fault, this process is not usable any more."""
        self._uses += 1
        self.usable = False
        try:
            with self._watched(seconds):
                send(self._channel, request)
                message, descriptors = receive(self._channel)
        except (EOFError, OSError, ValueError) as error:
            raise self._fault() from error
        image = self._understood(message, descriptors)
        self.usable = self._may_go_on
        return image

    @contextmanager
    def _watched(self, seconds: float) -> Iterator[None]:
        """Kill the process if it is not done after so many seconds; afterwards it is known whether it was."""
        watchdog = threading.Timer(seconds, self._end_late)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()
            watchdog.join()

    def _end_late(self) -> None:
        self._is_late = True
        self._process.kill()

    @property
    def _may_go_on(self) -> bool:
        return self._uses < MOST_USES and not self._is_late

    def _understood(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> Image:
        try:
            if "image" in message:
                return image_of(message["image"], descriptors[0])
            refusal = refusal_of(message["refusal"]) if "refusal" in message else None
            fault = None if refusal is not None else Code(message["fault"])
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise self._fault() from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        if refusal is None:
            raise _refusal(fault or Code.INPUT_DECODER_FAILED)
        self.usable = self._may_go_on
        raise refusal

    def _fault(self) -> Refusal:
        """Find out how the process ended."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_SECONDS)
        if self._is_late or self._process.returncode in (-signal.SIGXCPU, -signal.SIGALRM):
            return _refusal(Code.INPUT_DECODER_TIMEOUT)
        return _refusal(Code.INPUT_DECODER_FAILED, ended=self._process.returncode)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _refusal(code: Code, *, ended: int | None = None) -> Refusal:
    detail = _FAULTS.get(code, _FAULTS[Code.INPUT_DECODER_FAILED])
    code = code if code in _FAULTS else Code.INPUT_DECODER_FAILED
    return Refusal(code, detail, remedy=REMEDY, observed=None if ended is None else {"exit_status": ended})


class _Pool:
    """Idle processes."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()

    def take(self) -> _Child:
        """Give an idle process, or a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Child()

    def give_back(self, child: _Child) -> None:
        """Keep a process for the next file, or end it."""
        with self._lock:
            if child.usable and len(self._idle) < MOST_IDLE:
                self._idle.append(child)
                return
        child.close()

    def close(self) -> None:
        """End the idle ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.close()

    def forget(self) -> None:
        """After a fork: the processes and sockets are the other one's."""
        self.__init__()  # type: ignore[misc]  # a fresh lock, too


_POOL = _Pool()
atexit.register(stop_children)
os.register_at_fork(after_in_child=_POOL.forget)
