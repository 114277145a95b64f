"""Files are read in another process: the same image, and its faults are refusals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.decode import Budget, children, messages, read_in_child, stop_children
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Limits, read_image
from nnunet_losses.serve.schema import Reader

from ..dicom.series import phantom, write_series
from ..formats.files import noise, write

if TYPE_CHECKING:
    from pathlib import Path


def code(action: Any) -> Code:
    with pytest.raises(Refusal) as caught:
        action()
    return caught.value.code


def idle_process() -> subprocess.Popen[bytes]:
    """The process that the next file goes to."""
    return children._POOL._idle[-1]._process


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "a.nii.gz", noise((9, 20, 30)))


@pytest.mark.parametrize("reader", [Reader.SIMPLE_ITK, Reader.NIBABEL_REORIENT])
def test_gives_what_read_image_gives(file: Path, reader: Reader) -> None:
    ours, theirs = read_in_child([file], reader), read_image([file], reader=reader)
    assert np.array_equal(ours.data, theirs.data)
    assert ours.data.dtype == np.float32
    assert (ours.spacing, ours.geometry, ours.sha256) == (theirs.spacing, theirs.geometry, theirs.sha256)
    assert ours.warnings == theirs.warnings
    ours.data[0, 0, 0, 0] = 7  # it is the caller's own


def test_gives_series_with_what_outputs_need(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "a", phantom().datasets())
    ours = read_in_child([folder], Reader.SIMPLE_ITK, orientation="RAS")
    theirs = read_image([folder], reader=Reader.SIMPLE_ITK, orientation="RAS")
    assert np.array_equal(ours.data, theirs.data)
    assert (ours.geometry, ours.series) == (theirs.geometry, theirs.series) or ours.series is not None
    assert ours.series.common == theirs.series.common
    assert ours.series.instances == theirs.series.instances


def test_one_process_reads_many_files(file: Path) -> None:
    read_in_child([file], Reader.SIMPLE_ITK)
    first = idle_process().pid
    for _ in range(3):
        read_in_child([file], Reader.SIMPLE_ITK)
    assert code(lambda: read_in_child([file.with_name("b.nii")], Reader.SIMPLE_ITK)) is Code.INPUT_MISSING
    assert idle_process().pid == first


def test_limits_arrive(file: Path) -> None:
    small = Limits(decoded_bytes=1000)
    assert code(lambda: read_in_child([file], Reader.SIMPLE_ITK, small)) is Code.INPUT_TOO_LARGE


def test_memory_is_limited(tmp_path: Path) -> None:
    """Where memory ends a library says so, or gives up the process."""
    large = write(tmp_path / "a.nii", np.zeros((100, 300, 300), np.int16))
    small = Budget(memory_bytes=2**24)
    found = code(lambda: read_in_child([large], Reader.SIMPLE_ITK, budget=small))
    assert found in (Code.INPUT_DECODER_MEMORY, Code.INPUT_DECODER_FAILED)
    assert read_in_child([large], Reader.SIMPLE_ITK).shape == (100, 300, 300)


def test_time_and_output_are_limited(tmp_path: Path) -> None:
    large = write(tmp_path / "a.nii", np.zeros((100, 300, 300), np.int16))
    small, short = Budget(output_bytes=1000), Budget(wall_seconds=0.001)
    found = code(lambda: read_in_child([large], Reader.SIMPLE_ITK, budget=small))
    assert found is Code.INPUT_DECODER_MEMORY
    assert read_in_child([large], Reader.SIMPLE_ITK).shape == (100, 300, 300)
    os.kill(idle_process().pid, signal.SIGSTOP)  # however late the clock is looked at, it is not done
    found = code(lambda: read_in_child([large], Reader.SIMPLE_ITK, budget=short))
    assert found is Code.INPUT_DECODER_TIMEOUT
    assert read_in_child([large], Reader.SIMPLE_ITK).shape == (100, 300, 300)


def test_a_crash_is_a_refusal_and_the_next_file_is_read(file: Path) -> None:
    read_in_child([file], Reader.SIMPLE_ITK)
    os.kill(idle_process().pid, signal.SIGSEGV)
    assert code(lambda: read_in_child([file], Reader.SIMPLE_ITK)) is Code.INPUT_DECODER_FAILED
    assert read_in_child([file], Reader.SIMPLE_ITK).shape == (9, 20, 30)


def test_a_crash_in_the_middle(file: Path) -> None:
    read_in_child([file], Reader.SIMPLE_ITK)
    process = idle_process()
    os.kill(process.pid, signal.SIGSTOP)  # it hangs
    threading.Timer(0.5, process.kill).start()
    assert code(lambda: read_in_child([file], Reader.SIMPLE_ITK)) is Code.INPUT_DECODER_FAILED


def test_a_hang_is_ended(file: Path) -> None:
    read_in_child([file], Reader.SIMPLE_ITK)
    process = idle_process()
    os.kill(process.pid, signal.SIGSTOP)
    hanging = Budget(wall_seconds=0.5)
    assert (
        code(lambda: read_in_child([file], Reader.SIMPLE_ITK, budget=hanging)) is Code.INPUT_DECODER_TIMEOUT
    )
    assert process.poll() is not None


def test_several_threads(file: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        images = list(threads.map(lambda _: read_in_child([file], Reader.SIMPLE_ITK), range(9)))
    assert all(np.array_equal(image.data, images[0].data) for image in images)
    assert len(children._POOL._idle) <= children.MOST_IDLE


def test_secrets_of_the_service_stay_in_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNUNET_LOSSES_DATABASE", "postgresql://user:password@host/db")
    stop_children()
    read_in_child([file], Reader.SIMPLE_ITK)
    variables = (b"/proc/%d/environ" % idle_process().pid).decode()
    with open(variables, "rb") as listed:  # noqa: PTH123
        assert b"password" not in listed.read()


def test_answers_that_lie_are_not_believed() -> None:
    memory = os.memfd_create("image", os.MFD_ALLOW_SEALING)
    os.write(memory, bytes(400))
    geometry = {
        "dimension": 3,
        "spacing": [1, 1, 1],
        "origin": [0, 0, 0],
        "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    }
    told = {
        "shape": [1, 4, 5, 5],
        "spacing": [1, 1, 1],
        "geometry": geometry,
        "sha256": "",
        "warnings": [],
        "series": None,
    }
    assert messages.image_of(told, memory).shape == (4, 5, 5)
    with pytest.raises(ValueError, match="differ"):
        messages.image_of({**told, "shape": [1, 4, 5, 500]}, memory)
    with pytest.raises(PermissionError):  # sealed: nobody writes to it any more
        os.write(memory, b"x")
    os.close(memory)


def test_the_process_ends_with_its_service(tmp_path: Path, file: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nnunet_losses.serve.decode import children, read_in_child\n"
        "from nnunet_losses.serve.schema import Reader\n"
        "read_in_child([Path(sys.argv[1])], Reader.SIMPLE_ITK)\n"
        "print(children._POOL._idle[-1]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=False
    )
    child, end = int(done.stdout), time.monotonic() + 300
    while _lives(child):
        assert time.monotonic() < end, "the process lives on"
        time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_is_late_is_known_at_once_and_used_no_more(file: Path) -> None:
    """Also where the time ends between the answer and the moment at which nobody waits for it any more."""
    read_in_child([file], Reader.SIMPLE_ITK)
    child = children._POOL.take()
    with child._watched(0.001):
        child._process.wait(300)  # the watchdog has ended it
    assert not child._may_go_on
    assert child._fault().code is Code.INPUT_DECODER_TIMEOUT
    child.usable = child._may_go_on
    children._POOL.give_back(child)
    assert read_in_child([file], Reader.SIMPLE_ITK).shape == (9, 20, 30)


def test_a_file_costs_little_beside_a_new_process(file: Path) -> None:
    """Processor time of the same machine is compared: what other programs do does not count."""
    stop_children()
    read_in_child([file], Reader.SIMPLE_ITK)
    process = idle_process().pid
    beginning, ours = _processor_seconds(process), time.thread_time()
    for _ in range(10):
        read_in_child([file], Reader.SIMPLE_ITK)
    assert idle_process().pid == process
    more = _processor_seconds(process) - beginning + time.thread_time() - ours
    assert more / 10 < beginning / 4, (more, beginning)


def _processor_seconds(process: int) -> float:
    with open(f"/proc/{process}/stat") as stat:  # noqa: PTH123
        user, system = map(int, stat.read().rpartition(")")[2].split()[11:13])
    return (user + system) / os.sysconf("SC_CLK_TCK")
