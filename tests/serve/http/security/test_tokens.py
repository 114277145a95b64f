"""Tokens of an identity provider: what is accepted, and every way to forge one that is known."""

from __future__ import annotations

import base64
import json
import time
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from nnunet_losses.serve.http.security.caller import Scope
from nnunet_losses.serve.http.security.key_set import GRACE, LIFETIME, PAUSE, KeySet, parse_keys
from nnunet_losses.serve.http.security.key_store import KeysUnusable
from nnunet_losses.serve.http.security.tokens import TokenRules, TokenVerifier

from .tokens import AUDIENCE, ISSUER, Provider, public_entry

RULES = TokenRules(issuer=ISSUER, audience=AUDIENCE)


class Source:
    """A key set behind an address, with a clock."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.now = 1000.0
        self.fetches = 0
        self.fails = False

    def fetch(self, _: str) -> bytes:
        self.fetches += 1
        if self.fails:
            raise OSError
        return self.provider.key_set()

    def keys(self) -> KeySet:
        return KeySet("https://login.example/keys", fetch=self.fetch, monotonic=lambda: self.now)


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
def verifier(provider: Provider) -> TokenVerifier:
    return TokenVerifier(RULES, Source(provider).keys())


def test_a_good_token_names_its_caller(provider: Provider, verifier: TokenVerifier) -> None:
    caller = verifier.authenticate(provider.token(scope="openid segment metrics"))
    assert (caller.name, caller.scopes) == ("token:dr-who", {Scope.SEGMENT, Scope.METRICS})
    assert verifier.authenticate(provider.token(scope=None)).scopes == frozenset()
    long = verifier.authenticate(provider.token(sub="Jörg " * 50)).name
    assert (len(long) <= 128, long.isascii(), " " in long) == (True, True, False)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another-service"},
        {"exp": int(time.time()) - 3600},
        {"nbf": int(time.time()) + 10**9},
        {"iss": None},
        {"aud": None},
        {"exp": None},
        {"sub": None},
        {"sub": 7},
        {"scope": "segment", "pad": "x" * 9000},
    ],
)
def test_claims_that_do_not_fit_are_refused(
    provider: Provider, verifier: TokenVerifier, claims: dict[str, Any]
) -> None:
    wrong = {name: value for name, value in claims.items() if not (name == "sub" and value == 7)}
    token = provider.token(**wrong)
    if claims.get("sub") == 7:
        _, body, _ = token.split(".")
        token = jwt.api_jws.encode(
            json.dumps({**_json(body), "sub": 7}).encode(), provider.key, "ES256", headers={"kid": "first"}
        )
    assert verifier.authenticate(token) is None


def test_clocks_may_differ_a_little(
    provider: Provider, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 2_000_000_000
    stopped = SimpleNamespace(now=lambda tz: datetime.fromtimestamp(now, tz))
    monkeypatch.setattr(jwt.api_jwt, "datetime", stopped)
    for late, is_accepted in ((29, True), (30, False)):
        token = jwt.api_jws.encode(
            json.dumps({"iss": ISSUER, "aud": AUDIENCE, "sub": "dr-who", "exp": now - late}).encode(),
            provider.key,
            "ES256",
            headers={"kid": "first"},
        )
        assert (verifier.authenticate(token) is not None) is is_accepted


def test_forgeries_are_refused(provider: Provider, verifier: TokenVerifier) -> None:
    good = provider.token()
    header, body, signature = good.split(".")
    stranger = Provider()
    public = provider.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    forged = [
        f"{_base64({'alg': 'none', 'kid': 'first'})}.{body}.",
        f"{_base64({'alg': 'None', 'kid': 'first'})}.{body}.",
        f"{header}.{body}.",
        f"{header}.{_base64(_json(body) | {'scope': 'admin'})}.{signature}",
        stranger.token(),  # the right key id, another key
        _hmac(provider, public),  # the public key taken for a secret
        jwt.encode(_json(body), "x" * 64, "HS256", headers={"kid": "first"}),
        provider.token(headers={"kid": "unknown"}),
        provider.token(headers={"jwk": stranger.public(), "jku": "https://evil.example"}, iss="x"),
        provider.token(headers={"crit": ["exp2"], "exp2": 1}),
        good + ".x",
        "",
        "a.b.c",
    ]
    assert [token for token in forged if verifier.authenticate(token) is not None] == []
    assert verifier.authenticate(good) is not None


def test_the_operator_names_the_algorithms() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    entry = public_entry(key, "rsa")
    entry.pop("alg", None)
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "s", "exp": int(time.time()) + 3600}
    source = json.dumps({"keys": [entry]}).encode()
    for allowed, used, expected in [
        (("RS256",), "RS256", True),
        (("RS256",), "PS256", False),
        (("PS256",), "PS256", True),
    ]:
        rules = TokenRules(issuer=ISSUER, audience=AUDIENCE, algorithms=allowed)
        verifier = TokenVerifier(rules, KeySet("file", fetch=lambda _: source))
        token = jwt.encode(claims, key, used, headers={"kid": "rsa"})
        assert (verifier.authenticate(token) is not None) is expected, (allowed, used)


def test_rotated_keys_are_fetched_but_not_for_everybody() -> None:
    provider = Provider()
    source = Source(provider)
    verifier = TokenVerifier(RULES, source.keys())
    old = provider.token()
    assert verifier.authenticate(old) is not None
    for _ in range(50):
        verifier.authenticate(provider.token(headers={"kid": "no-such-key"}))
    assert source.fetches == 1
    provider.rotate()
    source.now += PAUSE
    assert verifier.authenticate(provider.token()) is not None
    assert verifier.authenticate(old) is None  # a key that was taken back
    assert source.fetches == 2


def test_the_last_keys_serve_while_the_provider_is_away() -> None:
    provider = Provider()
    source = Source(provider)
    verifier = TokenVerifier(RULES, source.keys())
    assert verifier.authenticate(provider.token()) is not None
    source.fails = True
    source.now += LIFETIME + 1
    assert verifier.authenticate(provider.token()) is not None
    assert source.fetches == 2
    source.now += GRACE
    with pytest.raises(KeysUnusable):
        verifier.authenticate(provider.token())


def test_only_public_keys_for_signatures_are_used() -> None:
    public = Provider().public()
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256"}
    others = [secret, public | {"use": "enc", "kid": "enc"}, {"kty": "EC"}, "text", public | {"crv": "P-0"}]
    assert set(parse_keys(json.dumps({"keys": [*others, public]}).encode())) == {"first"}
    for wrong in (b"[]", b"{}", b'{"keys": 7}', b"no json", json.dumps({"keys": others}).encode()):
        with pytest.raises((ValueError, TypeError)):
            parse_keys(wrong)


@pytest.mark.parametrize("source", ["http://login.example/keys", "ftp://login.example", "file:///etc/passwd"])
def test_keys_come_by_https_or_from_a_file(source: str) -> None:
    with pytest.raises(ValueError, match="Use https"):
        KeySet(source)


def _json(part: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return content


def _base64(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def _hmac(provider: Provider, secret: bytes) -> str:
    """PyJWT refuses to sign like this, so it is done by hand."""
    import hashlib
    import hmac

    _, body, _ = provider.token().split(".")
    text = f"{_base64({'alg': 'HS256', 'typ': 'JWT', 'kid': 'first'})}.{body}"
    digest = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
