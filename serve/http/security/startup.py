"""What must hold before the server listens, and what the operator should know."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from nnunet_losses.extras import install_command

from .authentication import Authenticator
from .key_store import KeyStore, KeysUnusable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import SecuritySettings


class Unsafe(Exception):  # noqa: N818 - the operator's input, not a fault
    """Why the server must not start, for the operator."""


def check_startup(settings: SecuritySettings) -> tuple[str, ...]:
    """Check keys, issuer and certificate; give warnings.

    Raises:
        Unsafe: one of them cannot be used.
    """
    try:
        _check_keys(settings)
        Authenticator(settings)
        _check_certificate(settings)
    except KeysUnusable as error:
        raise Unsafe(str(error)) from error
    except ValueError as error:
        raise Unsafe(f"oidc_jwks {error}") from error
    except ModuleNotFoundError as error:
        raise Unsafe(f"tokens need {error.name}. Install it with: {install_command('oidc')}") from error
    return tuple(_warnings(settings))


def _check_keys(settings: SecuritySettings) -> None:
    path = settings.keys_file
    if path is None or settings.oidc_issuer is not None:
        return
    store = KeyStore(path)
    if not store.valid_keys:
        raise KeysUnusable(
            f"the keys' file {path} holds no valid key, so that nobody could use the service. "
            f"Make one: nnunet-losses keys create NAME --file {path}"
        )


def _check_certificate(settings: SecuritySettings) -> None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except OSError as error:  # ssl.SSLError is one
        raise Unsafe(
            f"certificate {settings.tls_certificate} and key {settings.tls_key} cannot be used together: "
            f"{error.strerror or error}. Both must be PEM files, the certificate with its chain."
        ) from error


def _warnings(settings: SecuritySettings) -> Iterator[str]:
    if not settings.is_open:
        return
    if not settings.is_authenticated:
        yield (
            "Warning: other machines can reach this address, and callers are not authenticated. Whoever can "
            "connect can send images and read answers. Put a proxy with authentication and TLS before it, or "
            "use --keys-file."
        )
    elif settings.tls_certificate is None:
        yield (
            "Warning: other machines can reach this address without TLS: keys and images can be read on the "
            "way. Set NNUNET_LOSSES_TLS_CERTIFICATE and NNUNET_LOSSES_TLS_KEY, or put a "
            "proxy with TLS before it."
        )
