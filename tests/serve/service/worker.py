"""A worker process without a network: ``python -m tests.serve.service.worker SIGNS FD``, of a Supervisor.

The "bundle" is a text file. The input file is JSON that says what happens over it: ``tiles`` of ``seconds``
each, ``hang`` until there is a file ``let-go`` (as often as it says), ``stuck`` in native code that never
returns (``free`` lets other threads run, ``alone`` does not), ``oom`` and ``full`` as the machine would raise
them. Who hangs or is stuck leaves a file ``CASE-PID`` in the folder SIGNS; who opens a bundle that says
``slow`` leaves ``slow-PID`` and waits for the file ``go``, and so does the first one of all over one that
says ``one slow``; the first one over a bundle that says ``one stuck`` leaves ``stuck-PID`` and never returns
from native code. Who has opened and tested a bundle leaves ``tested-WORD-PID``, with its text's first word.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.answer import Answer, LabelAnswer, Manifest, Outcome
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.workers.engine import Segmentation
from nnunet_losses.serve.workers.process import main

from ..http.fakes import description

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_losses.serve.workers.engine import Order, Progress
    from nnunet_losses.serve.workers.plan import WorkerPlan

FOR_EVER = 3600  # seconds


class Steered:
    """An engine that does what its input says."""

    provider = "FakeProvider"

    def __init__(self, path: Path, plan: WorkerPlan) -> None:
        self._text = path.read_text()
        _take_time(self._text)
        _get_stuck(self._text)
        if "corrupt" in self._text:
            raise Refusal(Code.BUNDLE_HASH_MISMATCH, "fold_0.onnx was changed.", remedy="Fetch it again.")
        self.description = description(channels=("T1",))
        self.sha256 = hashlib.sha256(self._text.encode()).hexdigest()

    def self_test(self) -> None:
        if "wrong" in self._text:
            raise Refusal(Code.BUNDLE_SELF_TEST_FAILED, "Logits differ by 0.3.", remedy="Export it again.")
        _leave(f"tested-{self._text.split()[0]}")

    def segment(
        self, files: Sequence[Path], *, folder: Path, order: Order, progress: Progress
    ) -> Segmentation:
        content = files[0].read_bytes()
        wish = json.loads(content)
        mask = folder / "mask.nii.gz"
        with mask.open("wb") as file:
            for tile in range(wish.get("tiles", 2)):
                progress("network", tile, wish.get("tiles", 2))
                file.write(hashlib.sha256(content).digest())
                time.sleep(wish.get("seconds", 0.001))
                if tile == 1:
                    _misbehave(wish, order, progress)
        label = LabelAnswer(name="lesion", present=True, voxels=3, volume_ml=0.003, components=1)
        manifest = Manifest(model="brain", bundle_sha256=self.sha256, input_sha256="00", versions={})
        return Segmentation(
            Answer(case="", outcome=Outcome.SEGMENTED, labels=(label,), manifest=manifest), mask
        )

    def rejection(self, refusal: Refusal) -> Answer:
        raise NotImplementedError from refusal


def _misbehave(wish: dict[str, Any], order: Order, progress: Progress) -> None:
    if wish.get("oom"):  # in the words of ONNX Runtime
        raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory")
    if wish.get("full"):  # the kernel refuses to let any file grow; SQLite's are short writes
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, resource.RLIM_INFINITY))
        try:
            (_signs() / "big").write_bytes(b"x" * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if "stuck" in wish:
        _leave(order.case)
        library = ctypes.CDLL(None) if wish["stuck"] == "free" else ctypes.PyDLL(None)
        library.sleep(FOR_EVER)
    if len(list(_signs().glob(f"{order.case}-*"))) < wish.get("hang", 0):
        _leave(order.case)
        while not (_signs() / "let-go").exists():
            progress("network", 1, 2)
            time.sleep(0.01)


def _take_time(text: str) -> None:
    if "slow" not in text or ("one slow" in text and not _is_first("slow")):
        return
    _leave("slow")
    while not (_signs() / "go").exists():
        time.sleep(0.01)


def _get_stuck(text: str) -> None:
    if "one stuck" in text and _is_first("stuck"):
        _leave("stuck")
        ctypes.PyDLL(None).sleep(FOR_EVER)


def _signs() -> Path:
    return Path(os.environ["SIGNS"])


def _leave(what: str) -> None:
    (_signs() / f"{what}-{os.getpid()}").touch()


def _is_first(what: str) -> bool:
    """Whether no other worker asked before: one of two that ask at once is the second."""
    try:
        (_signs() / f"first-{what}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


if __name__ == "__main__":
    os.environ["SIGNS"] = sys.argv[1]
    main(int(sys.argv[2]), opened=Steered)
