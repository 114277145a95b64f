"""``nnunet-losses keys``: create, list and revoke API keys."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnunet_losses.ending import leave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .keys import KeyRecord

keys_app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="API keys of the service, kept as hashes in a file."
)

KeysFile = Annotated[
    Path,
    typer.Option("--file", envvar="NNUNET_LOSSES_KEYS_FILE", help="The file that `serve --keys-file` reads."),
]


class ScopeName(StrEnum):
    """What a key may allow."""

    SEGMENT = "segment"
    ARCHIVES = "archives"
    METRICS = "metrics"
    ADMIN = "admin"


@keys_app.command("create")
def create_command(
    name: Annotated[str, typer.Argument(help="Who will hold the key; two keys of one name are one caller.")],
    *,
    file: KeysFile,
    scope: Annotated[list[ScopeName] | None, typer.Option(help="What it allows; repeatable.")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires.")] = None,
) -> None:
    """Make a key, add its hash to the file, and show it once."""
    from pydantic import ValidationError

    from .caller import Scope
    from .key_store import changing
    from .keys import create_key

    scopes = [Scope(value) for value in scope or [ScopeName.SEGMENT]]
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    try:
        token, record = create_key(name, scopes, expires=expires)
    except ValidationError:
        leave(f"{name!r} cannot be a key's name. Use 1 to 64 letters, digits and . _ -")
    with _reporting(), changing(file) as keys:
        keys.append(record)
    typer.echo(token)
    typer.echo(f"Key {record.id} of {name}: copy it now, the file holds only its hash.", err=True)


@keys_app.command("list")
def list_command(*, file: KeysFile) -> None:
    """Show all keys, without their secrets."""
    from .key_store import read_keys

    with _reporting():
        keys = read_keys(file).keys
    for key in keys:
        typer.echo(f"{key.id}  {key.name:<20} {','.join(key.scopes):<22} {_standing(key)}")


@keys_app.command("revoke")
def revoke_command(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")], *, file: KeysFile
) -> None:
    """Refuse a key from now on; running servers notice."""
    from .key_store import changing, read_keys

    with _reporting():
        read_keys(file)
        with changing(file) as keys:
            known = [key.id for key in keys]
            if key_id not in known:
                leave(f"the file has no key {key_id!r}. It has: {', '.join(known) or 'none'}")
            index = known.index(key_id)
            keys[index] = keys[index].model_copy(
                update={"revoked": keys[index].revoked or datetime.now(UTC).replace(microsecond=0)}
            )
    typer.echo(f"Key {key_id} of {keys[index].name} is revoked.")


def _standing(key: KeyRecord) -> str:
    if key.revoked is not None:
        return f"revoked {key.revoked:%Y-%m-%d}"
    if key.expires is None:
        return f"valid since {key.created:%Y-%m-%d}"
    return f"{'valid until' if key.is_valid(datetime.now(UTC)) else 'expired'} {key.expires:%Y-%m-%d}"


@contextmanager
def _reporting() -> Iterator[None]:
    from .key_store import KeysUnusable

    try:
        yield
    except KeysUnusable as error:
        leave(str(error))
