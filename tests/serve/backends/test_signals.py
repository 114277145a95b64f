"""Signals find their way, whoever opened and released networks before."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Where OpenVINO may release its plug-in, the thread that opened a network can keep the address of unmapped
# memory for its signal handlers; then the signal ends the process before any handler runs.
PROGRAM = """
import gc, os, signal, sys, threading
from pathlib import Path
from nnunet_losses.serve.backends import open_network

def release():
    while networks:
        networks.pop(0)
        gc.collect()

signal.signal(signal.SIGTERM, lambda *_: print("handled"))
networks = [open_network(Path(sys.argv[1]), backend="openvino", threads=1) for _ in range(2)]
if sys.argv[2] == "by another thread":
    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
else:
    release()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.parametrize("released", ["by another thread", "in the order of opening"])
def test_a_signal_after_the_last_network_was_released(path: Path, released: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), released], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
