"""Ray's own limits, beyond which a busy machine counts as broken: some are variables, some are not."""

from __future__ import annotations

SECONDS = 600
VARIABLES = {
    "RAY_memory_monitor_refresh_ms": "0",  # nobody is ended because others took the machine's memory
    "RAY_NUM_REDIS_GET_RETRIES": str(SECONDS),
    "RAY_worker_register_timeout_seconds": str(SECONDS),
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(SECONDS),
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": str(SECONDS),
}


# Ray gives its agents 15 seconds to start, fixed, and ends: https://github.com/ray-project/ray/issues/65983
GAVE_UP = "The current node timed out during startup"
ATTEMPTS = 5


def be_patient() -> None:
    """Let Ray Serve's start wait for its proxy; it gets one minute."""
    from ray.serve._private import api

    api.HTTP_PROXY_TIMEOUT = SECONDS
