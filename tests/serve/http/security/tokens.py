"""An identity provider for tests: keys, their set, tokens."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE = "https://login.example", "segmentation"


@dataclass
class Provider:
    """Signs tokens with one elliptic key. ``rotate`` makes another one."""

    key_id: str = "first"
    key: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def rotate(self) -> None:
        self.key_id, self.key = "second", ec.generate_private_key(ec.SECP256R1())

    def public(self) -> dict[str, Any]:
        return public_entry(self.key, self.key_id)

    def key_set(self) -> bytes:
        return json.dumps({"keys": [self.public()]}).encode()

    def token(self, *, algorithm: str = "ES256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good token; a claim of None is left out."""
        now = int(time.time())
        good = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "dr-who",
            "iat": now,
            "exp": now + 3600,
            "scope": "segment",
        }
        kept = {name: value for name, value in (good | claims).items() if value is not None}
        return jwt.encode(kept, self.key, algorithm, headers={"kid": self.key_id} | (headers or {}))


def public_entry(key: Any, key_id: str, **more: Any) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    entry: dict[str, Any] = json.loads(kind.to_jwk(key.public_key()))
    return entry | {"kid": key_id, "use": "sig"} | more
