"""Variables that Ray reads when it is imported."""

from __future__ import annotations

import os


def prepare_environment() -> None:
    """Keep Ray to itself, where the operator did not say otherwise. Call it before ``import ray``.

    No usage statistics are sent. A cluster of this machine alone listens on the loopback interface, for
    Ray's ports execute code. (The variable is named after the systems on which Ray does so anyway.) Actors
    without a GPU see the variables that their machine has. Ray Serve's proxy gets all the time for which
    Serve waits for it anyway: by default it is killed after a third of that, on a busy machine every time.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60")
    if not os.environ.get("RAY_ADDRESS"):
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
