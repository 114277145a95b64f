"""Tokens of an identity provider: JSON Web Tokens (RFC 7519) as OpenID Connect and OAuth 2 use them.

Checked as RFC 8725 asks: the algorithms are the operator's and never the token's choice, a key's kind must
fit, and issuer, audience, times and subject must be there.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jwt

from .caller import Caller, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .key_set import KeySet

LONGEST = 8192  # characters of a token
_NAME = re.compile(r"[\x21-\x7e]{1,100}")


@dataclass(frozen=True)
class TokenRules:
    """What a token must be like.

    Attributes:
        issuer: who must have signed it, as in ``iss``.
        audience: for whom it must be, as in ``aud``.
        algorithms: of ``settings.KNOWN_ALGORITHMS``.
        scope_claim: where its scopes stand; dots lead into objects (``realm_access.roles``).
        leeway: seconds by which clocks may differ.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    scope_claim: str = "scope"
    leeway: float = 30.0


class TokenVerifier:
    """Judges tokens by rules and the provider's keys."""

    def __init__(self, rules: TokenRules, keys: KeySet) -> None:
        self._rules = rules
        self._keys = keys

    def authenticate(self, token: str) -> Caller | None:
        """Tell who sent it; None if it is not accepted. May wait for the provider's keys.

        Raises:
            KeysUnusable: there are no keys to judge it by.
        """
        if len(token) > LONGEST:
            return None
        try:
            claims = self._claims(token)
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return Caller(_name(claims["sub"]), frozenset(granted(claims, self._rules.scope_claim)))

    def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        key = self._keys.find(key_id) if algorithm in self._rules.algorithms else None
        if key is None or algorithm not in key.algorithms:
            raise jwt.InvalidAlgorithmError
        claims: dict[str, Any] = jwt.decode(
            token,
            key=key.material,
            algorithms=[algorithm],
            issuer=self._rules.issuer,
            audience=self._rules.audience,
            leeway=self._rules.leeway,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims


def granted(claims: dict[str, Any], claim: str) -> Iterable[Scope]:
    """Find the scopes that a token grants: words of a text, or entries of a list.

    Example:
        >>> [*granted({"scope": "openid segment"}, "scope")]
        [<Scope.SEGMENT: 'segment'>]
        >>> [*granted({"realm_access": {"roles": ["metrics"]}}, "realm_access.roles")]
        [<Scope.METRICS: 'metrics'>]
    """
    found: Any = claims
    for step in claim.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
    return [scope for scope in Scope if scope.value in words]


def _name(subject: str) -> str:
    """A subject as it is if it can own jobs, else its hash."""
    if _NAME.fullmatch(subject):
        return f"token:{subject}"
    return f"token:sha256:{hashlib.sha256(subject.encode()).hexdigest()}"
