"""The process that decodes: ``python -m nnunet_losses.serve.decode.child DESCRIPTOR``.

It answers one question after the other, each within its limits, until its socket closes. After a fault it
ends; the service starts another one.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import read_image

from .messages import Question, description_of, receive, refusal_message, send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

GRACE = 5.0  # seconds after which the process ends itself, should nobody be left to end it


def serve(channel: socket.socket) -> None:
    """Answer until the other side closes, or a fault makes this process doubtful."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.GlobalWarningDisplayOff()
    while True:
        try:
            message, _ = receive(channel)
        except EOFError:
            return
        if not _answer(channel, message):
            return


def _answer(channel: socket.socket, message: Mapping[str, Any]) -> bool:
    """Answer one question; tell whether this process may answer another one."""
    question = Question.of(message)
    _limit(question.costs)
    try:
        image = read_image(
            question.files,
            reader=question.reader,
            limits=question.limits,
            orientation=question.orientation,
        )
        voxels = _hand_over(image.data)
    except Refusal as refusal:
        send(channel, {"refusal": refusal_message(refusal)})
        return True
    except MemoryError:
        send(channel, {"fault": Code.INPUT_DECODER_MEMORY.value})
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        send(channel, {"image": description_of(image)}, voxels=voxels)
    finally:
        os.close(voxels)
    return True


def _limit(costs: Mapping[str, float]) -> None:
    """Set the kernel's limits for the next question; processor time counts from the process's beginning."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + costs["cpu_seconds"]) + 1
    _set(resource.RLIMIT_CPU, seconds)
    _set(resource.RLIMIT_AS, _address_space() + int(costs["memory_bytes"]))
    _set(resource.RLIMIT_FSIZE, int(costs["output_bytes"]))
    signal.setitimer(signal.ITIMER_REAL, costs["wall_seconds"] + GRACE)


def _set(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _hand_over(data: NDArray[np.float32]) -> int:
    """Write voxels to a memory file that has no name, and return its descriptor."""
    descriptor = os.memfd_create("image", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = np.ascontiguousarray(data).data.cast("B")
        while left:
            left = left[os.write(descriptor, left) :]
    except OSError as error:
        os.close(descriptor)
        raise MemoryError from error
    return descriptor


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the service's to handle
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # too much output is an error of the write
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold a patient's image
    with socket.socket(fileno=int(sys.argv[1])) as parent:
        serve(parent)
