"""The public keys of an identity provider: a JSON Web Key Set (RFC 7517), from a file or by HTTPS."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt

from .key_store import KeysUnusable

if TYPE_CHECKING:
    from collections.abc import Callable

LIFETIME = 300.0  # seconds after which the keys are fetched again
PAUSE = 30.0  # seconds between fetches for keys that are not known, whoever sends such tokens
GRACE = 24 * 3600.0  # seconds for which the last keys serve while the provider does not answer
_LARGEST = 1024**2
_PATIENCE = 5.0
_ASYMMETRIC = {"RSA", "EC", "OKP"}
_OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


@dataclass(frozen=True)
class PublicKey:
    """A key for signatures: its id, its material, and the algorithms that it may be used with."""

    id: str | None
    material: Any
    algorithms: tuple[str, ...]


class KeySet:
    """The keys by their ids, fetched when they are needed.

    Args:
        source: an https address, an http one on this machine, or a path.
        fetch: reads the source; for tests.
        monotonic: seconds; for tests.

    Raises:
        ValueError: the address is neither.
    """

    def __init__(
        self,
        source: str,
        *,
        fetch: Callable[[str], bytes] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._fetch = fetch or (_fetch if _is_address(source) else _read)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._keys: dict[str | None, PublicKey] = {}
        self._tried: float | None = None
        self._fetched: float | None = None

    def find(self, key_id: str | None) -> PublicKey | None:
        """Find a key, after a fetch where that may help; None if the provider has none of this id.

        Raises:
            KeysUnusable: no keys could be read for too long.
        """
        with self._lock:
            now = self._monotonic()
            is_old = self._fetched is None or now - self._fetched > LIFETIME
            if (is_old or key_id not in self._keys) and self._may_try(now):
                self._refresh(now)
            if self._fetched is None or now - self._fetched > GRACE:
                raise KeysUnusable(f"the issuer's keys cannot be read from {self._source}")
            return self._keys.get(key_id)

    def _may_try(self, now: float) -> bool:
        return self._tried is None or now - self._tried >= PAUSE

    def _refresh(self, now: float) -> None:
        self._tried = now
        try:
            self._keys = parse_keys(self._fetch(self._source))
        except (OSError, ValueError, TypeError):  # URLError is an OSError; the last keys serve for a while
            return
        self._fetched = now


def parse_keys(content: bytes) -> dict[str | None, PublicKey]:
    """Read a key set. Keys for encryption, secret ones and unknown kinds are left out.

    Raises:
        ValueError: this is no key set, or none of its keys can be used.
    """
    document = json.loads(content)
    entries = document.get("keys") if isinstance(document, dict) else None
    usable = [key for key in map(_key, entries or ()) if key is not None]
    if not usable:
        raise ValueError("the key set has no public key for signatures")
    return {key.id: key for key in usable}


def _key(entry: Any) -> PublicKey | None:
    """A secret key (``oct``) would let anybody who sees the set sign: never used."""
    if not isinstance(entry, dict) or entry.get("kty") not in _ASYMMETRIC or entry.get("use", "sig") != "sig":
        return None
    try:
        key = jwt.PyJWK(entry)
    except jwt.PyJWTError:
        return None
    is_any_rsa = entry["kty"] == "RSA" and entry.get("alg") is None
    return PublicKey(key.key_id, key.key, _OF_RSA if is_any_rsa else (key.algorithm_name,))


def _is_address(source: str) -> bool:
    scheme = urlsplit(source).scheme
    if scheme == "https" or (
        scheme == "http" and urlsplit(source).hostname in {"127.0.0.1", "::1", "localhost"}
    ):
        return True
    if "://" in source:
        raise ValueError(f"{scheme}:// cannot be trusted with keys. Use https://, or a file's path")
    return False


def _read(path: str) -> bytes:
    return Path(path).read_bytes()


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The operator named one address, and no other is asked."""

    def redirect_request(self, *_: Any) -> None:
        """Let the redirect be an error."""


def _fetch(address: str) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(address, timeout=_PATIENCE) as reply:
        content: bytes = reply.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError("the key set is larger than any key set")
    return content
