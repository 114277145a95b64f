"""Where a replica's own port is open."""

from __future__ import annotations

import logging
from typing import Any

from ..logs import log_event

LOOPBACK = "127.0.0.1"
OPEN_PORT = "add_port_to_grpc_server"


def stay_on_loopback() -> None:
    """Let this replica open its port for other deployments on the loopback interface only.

    Ray Serve opens it on all interfaces whatever the node's address is, and has no option for it (replica.py,
    ``_on_initialized``, 2.60). Call it on the replica, before that. There are no other deployments.
    """
    from ray.serve._private import replica  # noqa: PLC0415 - on the replica only

    open_port = getattr(replica, OPEN_PORT, None)
    if open_port is None:  # another version of Ray
        log_event("ray.port_on_all_interfaces", level=logging.WARNING)
        return

    def open_on_loopback(server: Any, address: str) -> Any:
        return open_port(server, address.replace("[::]", LOOPBACK))

    setattr(replica, OPEN_PORT, open_on_loopback)
