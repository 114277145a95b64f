"""``serve --ray`` in a process of its own, without a network in it: ``python -m ... SETTINGS``.

Told to end, it takes no more jobs, and waits for the file ``drain`` in the folder SIGNS before running jobs
are asked to end: a test that looks at it meanwhile has all the time that it needs.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.ray.environment import prepare_environment

from ..service.worker import Steered
from .patience import be_patient


def tell(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    prepare_environment()
    from nnunet_losses.serve.ray import application

    be_patient()
    drain = application._Predictors.drain

    def drain_when_told(*arguments: Any, **options: Any) -> None:
        while not Path(os.environ["SIGNS"], "drain").exists():
            time.sleep(0.01)
        drain(*arguments, **options)

    application._Predictors.drain = drain_when_told  # type: ignore[method-assign]
    application.run(Settings.model_validate_json(sys.argv[1]), started=tell, opened=Steered)
