"""API keys: what a client holds, and what the server keeps instead.

A key is ``nnl_<id>_<secret>``. The file holds the id, and scrypt (RFC 7914) of the secret with a salt: who
reads the file cannot send requests with it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from nnunet_losses.serve.schema import Frozen

from .caller import Caller, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN = re.compile(r"nnl_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_ROUNDS, _BLOCK, _LANES = 2**14, 8, 1  # 16 MiB and about 50 ms for each guess

KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Hexadecimal = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$")]


class KeyRecord(Frozen):
    """What the server keeps of a key. Keys of one name are one caller, so that a key can be replaced."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
    name: KeyName
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None
    salt: Hexadecimal
    scrypt: Hexadecimal

    @property
    def caller(self) -> Caller:
        """Who holds the key."""
        return Caller(f"key:{self.name}", frozenset(self.scopes))

    def is_valid(self, now: datetime) -> bool:
        """Whether the key is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    def matches(self, secret: str) -> bool:
        """Whether this is the key's secret. Slow on purpose, and equally slow for every guess."""
        return hmac.compare_digest(derive(secret, bytes.fromhex(self.salt)), bytes.fromhex(self.scrypt))


class KeyRing(Frozen):
    """The file's content."""

    version: Literal[1] = 1
    keys: tuple[KeyRecord, ...] = ()

    def find(self, key_id: str) -> KeyRecord | None:
        """Find a key by its id."""
        return next((key for key in self.keys if key.id == key_id), None)


def create_key(
    name: str, scopes: Iterable[Scope], *, expires: datetime | None = None
) -> tuple[str, KeyRecord]:
    """Draw a key of 256 random bits; give it and what to keep of it.

    Args:
        name: who will hold it: 1 to 64 letters, digits and ``._-``.
        scopes: what it allows, at least one.
        expires: from when it is refused, with a time zone; None for never.

    Raises:
        pydantic.ValidationError: for an impossible name or no scope.

    Example:
        >>> token, record = create_key("ward-3", [Scope.SEGMENT])
        >>> split_token(token)[0] == record.id, record.caller.name
        (True, 'key:ward-3')
    """
    key_id, secret, salt = secrets.token_hex(8), secrets.token_urlsafe(32), secrets.token_bytes(16)
    record = KeyRecord(
        id=key_id,
        name=name,
        scopes=tuple(sorted(set(scopes))),
        created=datetime.now(UTC).replace(microsecond=0),
        expires=expires,
        salt=salt.hex(),
        scrypt=derive(secret, salt).hex(),
    )
    return f"nnl_{key_id}_{secret}", record


def split_token(token: str) -> tuple[str, str] | None:
    """Take a key apart into id and secret; None for what is no key.

    Example:
        >>> split_token("Bearer of bad news") is None
        True
    """
    match = _TOKEN.fullmatch(token)
    return None if match is None else (match[1], match[2])


def derive(secret: str, salt: bytes) -> bytes:
    """Derive what is kept: 32 bytes."""
    return hashlib.scrypt(secret.encode("ascii"), salt=salt, n=_ROUNDS, r=_BLOCK, p=_LANES, dklen=32)
