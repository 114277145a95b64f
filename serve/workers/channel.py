"""Messages between the server and a worker process: JSON objects, one a line, over a pair of sockets."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class Channel:
    """One end. The other side's death ends ``messages``; what is sent to a dead side is lost.

    Example:
        >>> import socket
        >>> ours, theirs = map(Channel, socket.socketpair())
        >>> ours.send({"do": "wake"})
        >>> next(theirs.messages())
        {'do': 'wake'}
        >>> ours.close()
        >>> list(theirs.messages())
        []
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message. From any thread."""
        data = json.dumps(message).encode() + b"\n"
        try:
            with self._sending:
                self._connection.sendall(data)
        except OSError:  # the other side is gone, and ``messages`` says so
            return

    def messages(self) -> Iterator[dict[str, Any]]:
        """Give messages as they come, until the other side closes or dies."""
        try:
            for line in self._lines:
                if not line.endswith(b"\n"):  # the other side died in the middle of it
                    return
                yield json.loads(line)
        except OSError:
            return

    def close(self) -> None:
        """Close this end."""
        self._lines.close()
        self._connection.close()
