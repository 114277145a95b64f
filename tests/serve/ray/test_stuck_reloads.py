"""A predictor that is stuck over a reload says so, drops nothing that nobody can drop, and ends itself."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from ...conftest import ROOT, require
from ..service.helpers import settings_for

if TYPE_CHECKING:
    from pathlib import Path

# The actor's class without Ray around it. That its time is over is told to it only when it is at the gate.
SCRIPT = """
import os, queue, sys, threading
from pathlib import Path
from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.http.worker_plans import worker_plans
from nnunet_losses.serve.ray.accepted import AcceptedBundles
from nnunet_losses.serve.ray.actor import PredictorActor
from tests.serve.http.fakes import wait_for
from tests.serve.service.helpers import PATIENCE
from tests.serve.service.worker import Steered

settings = Settings.model_validate_json(sys.argv[1])
folder, new = settings.data_folder, Path(sys.argv[2])
ended, gate = queue.Queue(), threading.Event()

def opened(path, plan):
    if path == new:
        gate.wait()
    return Steered(path, plan)

os._exit, leave = ended.put, os._exit
plan = worker_plans(settings)[0].model_copy(update={"name": "one", "folder": folder})
actor = PredictorActor(plan, AcceptedBundles(folder, "a1b2"), opened=opened)
wait_for(lambda: actor.report().claims, seconds=PATIENCE)
assert actor.prepare("brain", Path(settings.bundles[0])) is None
actor.abort("brain")
actor._plan = plan.model_copy(update={"opening": 0.0})
print(actor.prepare("brain", new).code)
actor.abort("brain")
print("aborted")
print(ended.get(timeout=PATIENCE))
print(actor.report().claims)
sys.stdout.flush()
leave(0)
"""


def test_it_ends_itself(tmp_path: Path) -> None:
    require(importlib.util.find_spec("ray"), "Ray is not installed")
    settings = settings_for(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "new").write_text("new")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            settings.model_dump_json(exclude_defaults=True),
            str(tmp_path / "new"),
        ],
        cwd=ROOT,
        env={**os.environ, "SIGNS": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["bundle.timeout", "aborted", "1", "False"], done.stderr
    assert "worker.stuck" in done.stderr
