"""A real bundle behind ``nnunet-losses serve``, in a process of its own that cannot import PyTorch."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import SimpleITK as sitk

from ...conftest import ROOT
from .fakes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

# Python runs this in every process of the server.
WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "nnunetv2", "skimage"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""
COMMAND = "from nnunet_losses.cli import main; main()"


class Server:
    """The process, its address, its files."""

    def __init__(self, process: subprocess.Popen[str], url: str, folder: Path, image: Path) -> None:
        self.process = process
        self.url = url
        self.folder = folder
        self.image = image
        alone = httpx.Limits(max_keepalive_connections=0)  # the server closes idle ones when it likes
        self.client = httpx.Client(base_url=url, timeout=2 * PATIENCE, limits=alone)

    def workers(self) -> list[Path]:
        """Folders of /proc of the server's worker processes."""
        processes = (path for path in Path("/proc").iterdir() if path.name.isdecimal())
        return [path for path in processes if self._is_worker(path)]

    def _is_worker(self, process: Path) -> bool:
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            return parent == self.process.pid and b"workers.process" in (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False

    def segment(self, content: bytes, name: str = "image.nii.gz", **more: Any) -> httpx.Response:
        return self.client.post("/v1/segment", files={"MRI": (name, content)}, **more)


def write_image(path: Path) -> None:
    """Write noise with a spacing and an origin of its own."""
    file = sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(9, 18, 20)).astype(np.float32))
    file.SetSpacing((1.1, 0.9, 1.3))
    file.SetOrigin((-12.0, 5.5, 3.25))
    sitk.WriteImage(file, str(path))


@contextmanager
def started(bundle: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command, wait for its address, and end it as a service manager would."""
    (folder / "uploads").mkdir()
    options = ["--port", "0", "--threads", "1", "--backend", "cpu", "--max-body-mb", "1"]
    (folder / "sitecustomize.py").write_text(WITHOUT_TORCH)
    variables = {
        "NNUNET_LOSSES_TEMPORARY_FOLDER": str(folder / "uploads"),
        "PYTHONPATH": str(folder),
        "PYTHONWARNINGS": "error",
    }
    with (
        (folder / "log.jsonl").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "serve", str(bundle), *options],
            stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | variables, cwd=ROOT,
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert address is not None, line
            yield process, address.group()
        finally:
            process.terminate()
            try:
                assert process.wait(PATIENCE) == 0
            finally:
                process.kill()
