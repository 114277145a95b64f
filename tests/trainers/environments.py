"""Throw-away Python environments that see this one's packages, but none of its start-up hooks."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import nnunet_losses
from nnunet_losses.trainers import plugin

PATIENCE = 3000.0  # seconds for a command of nnU-Net's on a busy machine; what hangs ends at last
HERE = Path(sysconfig.get_path("purelib"))


@dataclass(frozen=True)
class Environment:
    """A virtual environment of a test."""

    root: Path

    @property
    def python(self) -> str:
        return str(self.root / "bin" / "python")

    @property
    def site_packages(self) -> Path:
        return next((self.root / "lib").glob("python3.*")) / "site-packages"

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python with arguments; its environment holds nothing of nnU-Net's but ``variables``.

        Threads wait passively: nnU-Net's ``-device cpu`` starts one for each core, and where others want the
        cores too, threads that spin while they wait make a training four times as long.
        """
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("nnUNet_", "PYTHON"))
        }
        return subprocess.run(
            [self.python, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False,
            env={**kept, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", **variables},
        )  # fmt: skip

    def code(self, text: str, **variables: str) -> str:
        """Run code that must succeed, and return what it prints."""
        done = self.run("-c", text, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def nnunet_losses(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("-c", "from nnunet_losses.cli import main; main()", *arguments, **variables)


def make_environment(root: Path) -> Environment:
    """Make an environment without pip, linked to the packages of this one."""
    venv.create(root, with_pip=False, symlinks=True)
    made = Environment(root)
    # nnunet_losses may be an ordinary or an editable installation: its parent, or a .pth file's finder.
    (made.site_packages / "0_linked.pth").write_text(f"{HERE}\n")
    for path in HERE.glob("*.pth"):
        if path.name not in (plugin.TRAINERS_HOOK, plugin.TORCHVISION_HOOK):
            (made.site_packages / path.name).write_bytes(path.read_bytes())
    found = made.code("import nnunet_losses; print(nnunet_losses.__file__)")
    assert Path(found) == Path(nnunet_losses.__file__), sys.path
    return made
