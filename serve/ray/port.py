"""The port at which Ray's HTTP proxy listens, chosen before there is a proxy."""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def proxy_port(host: str, port: int, *, alone: bool) -> Iterator[int]:
    """Give the wanted port, or a free one for 0, which nobody else gets before the proxy has it.

    Ray's proxy shares its port (SO_REUSEPORT) with whatever the same user runs on the same machine. A socket
    that is bound, and never listens, hence keeps a port for the proxy, and gets no connection itself.

    Args:
        host: where the proxy listens.
        port: the operator's choice; 0 for none.
        alone: whether the cluster is this machine's own; elsewhere nothing can be kept.

    Raises:
        OSError: the host is none of this machine's.

    Example:
        >>> with proxy_port("127.0.0.1", 8123, alone=True) as port:
        ...     port
        8123
    """
    if port:
        yield port
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as keeper:
        if is_kept := alone and _is_shared():
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper.bind((host, 0))
        free: int = keeper.getsockname()[1]
        if not is_kept:
            keeper.close()
        yield free


def _is_shared() -> bool:
    """Whether Ray's proxy shares its port: it does so by default, where the system can (proxy.py, 2.60)."""
    return hasattr(socket, "SO_REUSEPORT") and os.environ.get("SERVE_SOCKET_REUSE_PORT_ENABLED", "1") == "1"
