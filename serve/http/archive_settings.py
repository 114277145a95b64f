"""What an operator decides about archives that speak DICOMweb."""

from __future__ import annotations

import base64
import re
import ssl
from importlib.util import find_spec
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr, TypeAdapter, ValidationError, model_validator
from pydantic_settings import BaseSettings

from nnunet_losses.extras import install_command
from nnunet_losses.serve.dicomweb import ArchiveList, ArchivePlace
from nnunet_losses.serve.schema import Frozen

from .security.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .settings import Settings

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


def _check_name(value: str) -> str:
    if _NAME.fullmatch(value) is None:
        raise ValueError("an archive's name has 1 to 32 letters, digits and . _ -")
    return value


def _check_address(value: str) -> str:
    parts = urlsplit(value)
    is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
        raise ValueError(
            "an archive's address is like https://pacs.example/dicom-web, without user, query and fragment. "
            "Credentials go into NNUNET_LOSSES_DICOMWEB_CREDENTIALS or a file"
        )
    return value.rstrip("/")


ArchiveName = Annotated[str, AfterValidator(_check_name)]
Address = Annotated[str, AfterValidator(_check_address)]


class Credentials(Frozen):
    """What the service shows an archive: user and password, or a token.

    Example:
        >>> Credentials(token="abc").authorization
        'Bearer abc'
    """

    user: str | None = None
    password: SecretStr | None = None
    token: SecretStr | None = None

    @model_validator(mode="after")
    def _require_one_kind(self) -> Self:
        is_basic = self.user is not None and self.password is not None and self.token is None
        is_bearer = self.token is not None and self.user is None and self.password is None
        if not is_basic and not is_bearer:
            raise ValueError("credentials are either user and password, or token")
        return self

    @property
    def authorization(self) -> str:
        """Header for the archive."""
        if self.token is not None:
            return f"Bearer {self.token.get_secret_value()}"
        assert self.password is not None, "checked"
        pair = f"{self.user}:{self.password.get_secret_value()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"


_BY_NAME: TypeAdapter[dict[str, Credentials]] = TypeAdapter(dict[str, Credentials])


class ArchiveSettings(BaseSettings):
    """The part of ``Settings`` about archives. A series may be as large, and take as long, as an upload."""

    dicomweb: dict[ArchiveName, Address] = {}  # addresses by name: all that is ever contacted
    dicomweb_credentials: dict[str, Credentials] = {}  # by the same names
    dicomweb_credentials_file: Path | None = None  # the same as a JSON file
    dicomweb_ca: Path | None = None  # PEM file of who signs the archives' certificates; None: the usual ones


class ArchivesUnusable(Exception):  # noqa: N818 - the operator's input, not a fault
    """Why the archives cannot be talked to, for the operator."""


def archive_list(settings: Settings) -> ArchiveList:
    """Read what the operator decided.

    Raises:
        ArchivesUnusable: the credentials' file cannot be used, or knows other archives.
    """
    credentials = settings.dicomweb_credentials | _from_file(settings.dicomweb_credentials_file)
    unknown = sorted(set(credentials) - set(settings.dicomweb))
    if unknown:
        raise ArchivesUnusable(
            f"there are credentials for {', '.join(unknown)}, and no such archive. "
            "Name it: --dicomweb NAME=URL"
        )
    return ArchiveList(
        places=tuple(
            ArchivePlace(
                name=name,
                url=url,
                authorization=credentials[name].authorization if name in credentials else None,
                authorities=settings.dicomweb_ca,
            )
            for name, url in settings.dicomweb.items()
        ),
        fetch_bytes=settings.max_body_bytes,
        fetch_seconds=settings.upload_timeout,
    )


def _from_file(path: Path | None) -> dict[str, Credentials]:
    if path is None:
        return {}
    remedy = 'It holds JSON like {"pacs": {"user": "...", "password": "..."}} or {"pacs": {"token": "..."}}.'
    try:
        return _BY_NAME.validate_json(path.read_bytes())
    except OSError as error:
        raise ArchivesUnusable(f"the credentials' file {path} cannot be read: {error.strerror}.") from error
    except ValidationError:  # which would quote it
        raise ArchivesUnusable(f"the credentials' file {path} is not understood. {remedy}") from None


def check_archives(settings: Settings) -> tuple[str, ...]:
    """Check what must hold before the server starts; give warnings.

    Raises:
        ArchivesUnusable: a file or a library is missing, or not what it should be.
    """
    listed = archive_list(settings)
    missing = [name for name in ("httpx", "pydicom", "highdicom") if find_spec(name) is None]
    if listed.places and missing:
        raise ArchivesUnusable(f"archives need {missing[0]}. Install it with: {install_command('dicom')}")
    if settings.dicomweb_ca is not None:
        try:
            ssl.create_default_context(cafile=settings.dicomweb_ca)
        except OSError as error:  # ssl.SSLError is one
            raise ArchivesUnusable(f"{settings.dicomweb_ca} holds no certificates in PEM.") from error
    return tuple(_warnings(listed))


def _warnings(listed: ArchiveList) -> Iterator[str]:
    for place in listed.places:
        parts = urlsplit(place.url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            yield (
                f"Warning: the archive {place.name} is talked to without TLS: images and credentials can be "
                "read on the way. Use its https address."
            )
