"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection


class Scope(StrEnum):
    """What a caller may do. ``admin`` includes the others."""

    SEGMENT = "segment"  # send images, read what became of them, see the models
    ARCHIVES = "archives"  # have series fetched from archives, and results stored in them
    METRICS = "metrics"  # read /metrics
    ADMIN = "admin"  # change what is served


@dataclass(frozen=True)
class Caller:
    """One caller.

    Attributes:
        name: owner of jobs and quotas: 1 to 128 printable ASCII characters without spaces.
        scopes: what was granted.

    Example:
        >>> Caller("key:ward-3", frozenset({Scope.SEGMENT})).may(Scope.ADMIN)
        False
    """

    name: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Whether the caller was granted this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


# Everybody, where no authentication is configured; nobody, where it is.
ANONYMOUS = Caller("anonymous", frozenset(Scope))


def caller_of(connection: HTTPConnection) -> Caller:
    """Tell who asks. The gate has put it there before any route runs."""
    caller: Caller = connection.scope["state"].get("caller", ANONYMOUS)
    return caller
