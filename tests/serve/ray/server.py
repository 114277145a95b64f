"""``serve --ray`` in a process of its own, without a network in it: ``python -m ... SETTINGS``."""

from __future__ import annotations

import sys

from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.ray.environment import prepare_environment

from ..service.worker import Steered


def tell(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    prepare_environment()
    from nnunet_losses.serve.ray.application import run

    run(Settings.model_validate_json(sys.argv[1]), started=tell, opened=Steered)
