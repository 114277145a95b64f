"""Signals end a command in order: nothing half-written is left, and the exit code names the signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.cli import COMMANDS, WITH_THEIR_OWN_END

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Whoever runs the tests may ignore signals, as shells do for what runs behind, and children inherit it.
USUAL = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""
# The command waits in the midst of its work until the test, which has sent its signal, closes the gate.
GATED = """
from pathlib import Path
from nnunet_losses.cli import main

def gate(*_, **__):
    print("at the gate", flush=True)
    sys.stdin.read()

{gates}
sys.argv = {arguments!r}
main()
"""
IN_EXPORT = "import nnunet_losses.export.bundle_writer as room; room.gather_members = gate"
IN_WRITING = "os.replace = gate"
IN_REPORT = """
import nnunet_losses.compare.run as room
from nnunet_losses.trainers.files import write_atomically
room.report = lambda output: write_atomically(output / "index.html", "half of it")
Path.replace = gate
"""


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    import imageio.v3 as iio

    folder = tmp_path / "masks"
    folder.mkdir()
    iio.imwrite(folder / "a.png", np.random.default_rng(0).integers(0, 2, (20, 20), np.uint8))
    return folder


def started(gates: str, *arguments: object) -> subprocess.Popen[str]:
    words = ["nnunet-losses", *map(str, arguments)]
    script = USUAL + GATED.format(gates=gates, arguments=words)
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def interrupted(process: subprocess.Popen[str], numbers: Iterable[signal.Signals], busy: Path) -> int:
    """Wait for the gate, see that there is something to tidy up, send signals; gives the exit status."""
    assert process.stdout is not None
    for line in process.stdout:
        if line == "at the gate\n":
            break
    else:
        pytest.fail(f"the gate was never reached: {process.communicate()}")
    assert hidden(busy), "nothing is half-written at the gate: the test would show nothing"
    for number in numbers:
        process.send_signal(number)
    _, errors = process.communicate()  # closes the gate
    assert "Traceback" not in errors
    return process.returncode


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGTERM, signal.SIGHUP], 143),  # as systemd ends a session
    ],
)
def test_export(picture_model: Path, tmp_path: Path, sent: list[signal.Signals], code: int) -> None:
    process = started(IN_EXPORT, "export", picture_model, tmp_path / "new.bundle")
    found = interrupted(process, sent, tmp_path)
    assert found in {code, 128 + sent[-1]}  # of two that arrive at once, either may be heard first
    assert list(tmp_path.iterdir()) == []


def test_predict(picture_bundle: Path, masks: Path, tmp_path: Path) -> None:
    (masks / "a.png").rename(masks / "a_0000.png")
    out = tmp_path / "out"
    out.mkdir()
    process = started(IN_WRITING, "predict", picture_bundle, masks, "-o", out, "--backend", "cpu")
    assert interrupted(process, [signal.SIGTERM], out) == 143
    assert list(out.iterdir()) == []


def test_evaluate(masks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    process = started(IN_WRITING, "evaluate", masks, masks, "--label", "lesion=1", "--output", out)
    assert interrupted(process, [signal.SIGTERM], out) == 143
    assert list(out.iterdir()) == []


def test_compare_report(tmp_path: Path) -> None:
    process = started(IN_REPORT, "compare-report", tmp_path)
    assert interrupted(process, [signal.SIGTERM], tmp_path) == 143
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_never_lost_between_the_old_one_and_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pathlib import Path

    from nnunet_losses.serve.bundle_writing import put_in_place

    for name in ("target", "scratch", "scratch/content"):
        (tmp_path / name).mkdir()
    (tmp_path / "target" / "old").touch()
    rename = Path.rename

    def stopped(path: Path, target: Path) -> Path:
        if path.name == "content":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt):
        put_in_place(tmp_path / "scratch" / "content", tmp_path / "target", tmp_path / "scratch")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["old"]


def run(script: str) -> subprocess.CompletedProcess[str]:
    start = USUAL + "from nnunet_losses.interruption import INTERRUPTION\n"
    return subprocess.run([sys.executable, "-c", start + script], capture_output=True, text=True, check=False)


def test_a_signal_that_is_ignored_stays_so() -> None:
    done = run(
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "INTERRUPTION.listen()\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        "print(INTERRUPTION.received, INTERRUPTION.exit_code)\n"
    )
    assert (done.returncode, done.stdout) == (0, "None 130\n"), done.stderr


def test_senders_that_repeat_themselves_do_not_disturb_the_end() -> None:
    """GNU timeout sends its signal to the process and to its group; the third one is meant."""
    done = run(
        "INTERRUPTION.listen()\n"
        "try:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "except KeyboardInterrupt:\n    print('first', INTERRUPTION.exit_code, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('second', INTERRUPTION.exit_code, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print('never')\n"
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "first 143\nsecond 143\n"), done.stderr


def test_a_forked_child_is_ended_by_it() -> None:
    done = run(
        "INTERRUPTION.listen()\n"
        "child = os.fork()\n"
        "if child == 0:\n    os.kill(os.getpid(), signal.SIGTERM)\n    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert (done.returncode, done.stdout) == (0, f"{-signal.SIGTERM}\n"), done.stderr


@pytest.mark.parametrize("name", ["serve", "compare-cell", "predict"])
def test_commands_with_an_end_of_their_own(name: str) -> None:
    module, function = COMMANDS[name].split(":")
    script = (
        f"import {module} as room\n"
        f"room.{function} = lambda: print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
        "import sys\nfrom nnunet_losses.cli import main\n"
        f"sys.argv = ['nnunet-losses', {name!r}]\nmain()\n"
    )
    done = run(script)
    assert (done.returncode, done.stdout) == (0, f"{name in WITH_THEIR_OWN_END}\n"), done.stderr
