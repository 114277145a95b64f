"""What an operator decides about who may ask for what."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode

# none and the HMAC family are left out: with them, who checks tokens can also make them
KNOWN_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


def _split(value: Any) -> Any:
    """Read the environment's ``one, two``."""
    return (
        tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value
    )


def _check_algorithm(value: str) -> str:
    if value not in KNOWN_ALGORITHMS:
        raise ValueError(
            f"{value!r} is not an algorithm that tokens may be signed with. Use some of {KNOWN_ALGORITHMS}"
        )
    return value


def _check_origin(value: str) -> str:
    parts = urlsplit(value)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or value != f"{parts.scheme}://{parts.netloc}"
    ):
        raise ValueError(
            f"{value!r} is not an origin. Write it like https://viewer.example:8443, without a path"
        )
    return value.lower()


def _check_host(value: str) -> str:
    if not value or any(sign in value for sign in "/:@*?# "):
        raise ValueError(
            f"{value!r} is not a host name. Write it like segmentation.example, without port or *. "
            "Addresses need not be named"
        )
    return value.lower()


Origin = Annotated[str, AfterValidator(_check_origin)]
Host = Annotated[str, AfterValidator(_check_host)]
Algorithm = Annotated[str, AfterValidator(_check_algorithm)]


class SecuritySettings(BaseSettings):
    """The part of ``Settings`` about callers, hosts and bounds of a request.

    A host that other machines can reach is refused unless callers are authenticated (``keys_file`` or
    ``oidc_issuer``), or ``allow_remote`` says that a proxy does so.
    """

    host: str = "127.0.0.1"
    allow_remote: bool = False
    keys_file: Path | None = None  # API keys, see `nnunet-losses keys`
    oidc_issuer: str | None = None  # `iss` of the tokens that are accepted
    oidc_audience: str | None = None  # `aud` of the tokens that are accepted
    oidc_jwks: str | None = None  # https address or file of the issuer's public keys
    oidc_algorithms: Annotated[tuple[Algorithm, ...], NoDecode, BeforeValidator(_split)] = ("RS256", "ES256")
    oidc_scope_claim: str = "scope"  # dots lead into objects: realm_access.roles
    oidc_leeway: float = Field(default=30, ge=0, le=300)  # by which clocks may differ
    allowed_hosts: Annotated[tuple[Host, ...], NoDecode, BeforeValidator(_split)] = ()
    cors_origins: Annotated[tuple[Origin, ...], NoDecode, BeforeValidator(_split)] = ()
    tls_certificate: Path | None = None  # PEM, with its chain
    tls_key: Path | None = None
    max_header_bytes: int = Field(default=16384, ge=1024, le=65536)  # of one request, names included
    max_target_bytes: int = Field(default=4096, ge=256, le=65536)  # path and query
    max_requests: int = Field(default=256, ge=1)  # being answered at once, health probes apart
    max_requests_per_caller: int = Field(default=16, ge=1)  # that change something, for authenticated callers
    requests_per_minute: int | None = Field(default=None, ge=1)  # the same, by time
    header_timeout: float = Field(default=20, gt=0)  # until a request's head is complete
    send_timeout: float = Field(default=60, gt=0)  # for a client that takes nothing of its answer

    telemetry: bool = False  # OpenTelemetry's spans of requests, by OTLP

    @property
    def is_authenticated(self) -> bool:
        """Whether callers must show who they are."""
        return self.keys_file is not None or self.oidc_issuer is not None

    @property
    def is_open(self) -> bool:
        """Whether other machines can connect."""
        return not is_loopback(self.host)

    @model_validator(mode="after")
    def _refuse_to_be_open(self) -> Self:
        if self.is_open and not self.is_authenticated and not self.allow_remote:
            raise ValueError(
                f"host {self.host!r} can be reached from other machines, and there is no authentication. "
                "Make a key (nnunet-losses keys create NAME --file keys.json) and serve with --keys-file "
                "keys.json; or use 127.0.0.1, or --allow-remote if a proxy with authentication stands before "
                "the service."
            )
        return self

    @model_validator(mode="after")
    def _require_whole_groups(self) -> Self:
        oidc = {name: getattr(self, name) for name in ("oidc_issuer", "oidc_audience", "oidc_jwks")}
        tls = {name: getattr(self, name) for name in ("tls_certificate", "tls_key")}
        for group in (oidc, tls):
            missing = [name for name, value in group.items() if not value]
            if missing and len(missing) < len(group):
                given = next(name for name in group if name not in missing)
                raise ValueError(f"{given} is set without {' and '.join(missing)}. Set all of them, or none")
        if self.oidc_issuer and not self.oidc_algorithms:
            raise ValueError("oidc_algorithms is empty. Name what the issuer signs with, for example RS256")
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the host.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name: who can reach it is not known
        return False


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
