"""From the Authorization header to the caller (RFC 6750: bearer tokens)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from ..problems import ServiceCode, ServiceProblem
from .caller import ANONYMOUS, Caller, Scope
from .key_store import KeyStore, KeysUnusable

if TYPE_CHECKING:
    from .settings import SecuritySettings
    from .tokens import TokenVerifier

_REALM = 'Bearer realm="nnunet-losses"'
_AT_ONCE = 4  # keys and tokens that are judged in threads


class Authenticator:
    """Knows the keys and the issuer of one server.

    Args:
        settings: without keys' file and issuer everybody is ``ANONYMOUS`` and may do everything.

    Raises:
        ValueError: the address of the issuer's keys cannot be used.
    """

    def __init__(self, settings: SecuritySettings) -> None:
        self._is_needed = settings.is_authenticated
        self._keys = None if settings.keys_file is None else KeyStore(settings.keys_file)
        self._tokens = _verifier(settings)
        self._turn: CapacityLimiter | None = None

    async def authenticate(self, header: str | None) -> Caller | None:
        """Tell who asks; None if the request does not say so.

        Raises:
            ServiceProblem: who it says is not accepted (401), or cannot be judged now (503).
        """
        if not self._is_needed:
            return ANONYMOUS
        if header is None:
            return None
        scheme, _, token = header.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or not token.isascii():
            raise invalid()
        try:
            caller = await self._judge(token)
        except KeysUnusable:
            raise _unavailable() from None
        if caller is None:
            raise invalid()
        return caller

    async def _judge(self, token: str) -> Caller | None:
        """Judge known keys at once and all else in a thread: scrypt and fetching take their time."""
        known = None if self._keys is None else self._keys.recall(token)
        if known is not None:
            return known
        self._turn = self._turn or CapacityLimiter(_AT_ONCE)
        return await run_sync(self._look_up, token, limiter=self._turn)

    def _look_up(self, token: str) -> Caller | None:
        caller = None if self._keys is None else self._keys.authenticate(token)
        if caller is not None or self._tokens is None:
            return caller
        return self._tokens.authenticate(token)


def _verifier(settings: SecuritySettings) -> TokenVerifier | None:
    if settings.oidc_issuer is None or settings.oidc_audience is None or settings.oidc_jwks is None:
        return None
    from .key_set import KeySet  # noqa: PLC0415 - only who has an issuer needs PyJWT
    from .tokens import TokenRules, TokenVerifier  # noqa: PLC0415

    rules = TokenRules(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        algorithms=settings.oidc_algorithms,
        scope_claim=settings.oidc_scope_claim,
        leeway=settings.oidc_leeway,
    )
    return TokenVerifier(rules, KeySet(settings.oidc_jwks))


def require(caller: Caller | None, scope: Scope) -> Caller:
    """Give the caller if it may do this.

    Raises:
        ServiceProblem: it does not say who it is (401), or was not granted this (403).
    """
    if caller is None:
        raise ServiceProblem(
            ServiceCode.AUTH_REQUIRED,
            "The request does not say who asks.",
            remedy="Add the header `Authorization: Bearer KEY` with a key that the operator accepts.",
            headers={"WWW-Authenticate": _REALM},
        )
    if not caller.may(scope):
        raise ServiceProblem(
            ServiceCode.AUTH_SCOPE,
            f"This needs the scope {scope.value!r}, which the key or token does not grant.",
            remedy="Ask the operator for a key with this scope.",
            headers={"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope.value}"'},
            expected=scope.value,
        )
    return caller


def invalid() -> ServiceProblem:
    """Refuse who asks, without a word about why."""
    return ServiceProblem(
        ServiceCode.AUTH_INVALID,
        "The key or token is not accepted.",
        remedy="Send `Authorization: Bearer KEY` with one that is neither expired nor revoked.",
        headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
    )


def _unavailable() -> ServiceProblem:
    return ServiceProblem(
        ServiceCode.AUTH_UNAVAILABLE,
        "Nobody's key or token can be judged at the moment.",
        remedy="Try again later. The operator finds why with `nnunet-losses keys list`, or at the issuer.",
        headers={"Retry-After": "30"},
    )
