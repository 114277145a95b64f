"""The file of API keys: read whenever it has changed, written as a whole."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from .keys import KeyRing, split_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .caller import Caller
    from .keys import KeyRecord

_REMEMBERED = 1024  # keys that were found right, so that scrypt runs once for each


class KeysUnusable(Exception):  # noqa: N818 - the operator's input, not a fault
    """Why the file cannot be used, for the operator."""


class KeyStore:
    """The keys of one file. A change of the file, such as a revocation, holds from the next request on.

    Args:
        path: what ``nnunet-losses keys`` wrote.
        now: the time by which keys expire.
    """

    def __init__(self, path: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._now = now
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._ring = KeyRing()
        self._known: dict[bytes, str] = {}  # hash of a key that was found right: what the file keeps of it

    @property
    def valid_keys(self) -> tuple[KeyRecord, ...]:
        """Keys that are accepted now.

        Raises:
            KeysUnusable: the file cannot be read.
        """
        now = self._now()
        return tuple(key for key in self._current().keys if key.is_valid(now))

    def recall(self, token: str) -> Caller | None:
        """Tell at once whose key this is, if it was found right before; else None.

        Raises:
            KeysUnusable: the file cannot be read.
        """
        record = self._valid_record(token)
        is_known = record is not None and self._known.get(_digest(token)) == record.scrypt
        return record.caller if record is not None and is_known else None

    def authenticate(self, token: str) -> Caller | None:
        """Tell whose key this is; None for nobody's. Takes about 50 ms if the id is a key's.

        Raises:
            KeysUnusable: the file cannot be read.
        """
        record, parts = self._valid_record(token), split_token(token)
        if record is None or parts is None:
            return None
        with self._lock:  # one guess at a time, whoever floods the server with them
            if not record.matches(parts[1]):
                return None
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[_digest(token)] = record.scrypt
        return record.caller

    def _valid_record(self, token: str) -> KeyRecord | None:
        parts = split_token(token)
        record = None if parts is None else self._current().find(parts[0])
        return record if record is not None and record.is_valid(self._now()) else None

    def _current(self) -> KeyRing:
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._ring = read_keys(self._path)
            self._stamp = stamp
        return self._ring


def read_keys(path: Path) -> KeyRing:
    """Read a file of keys.

    Raises:
        KeysUnusable: it is absent, is no such file, or everybody may write to it.
    """
    try:
        mode, content = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise KeysUnusable(
            f"the keys' file {path} cannot be read: {error.strerror}. "
            f"Make one: nnunet-losses keys create NAME --file {path}"
        ) from error
    if os.name == "posix" and mode & stat.S_IWOTH:
        raise KeysUnusable(f"everybody may write to the keys' file {path}. Change that: chmod o-w {path}")
    try:
        return KeyRing.model_validate_json(content)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"])) or "the whole"
        raise KeysUnusable(
            f"the keys' file {path} is not what nnunet-losses keys writes: {place} is wrong. "
            "Restore it, or make a new one."
        ) from error


@contextmanager
def changing(path: Path) -> Iterator[list[KeyRecord]]:
    """Give the keys as a list, and write it when the block ends; other writers wait.

    Raises:
        KeysUnusable: the file is there but cannot be read, or cannot be written.
    """
    try:
        with _only_writer(path):
            keys = list(read_keys(path).keys) if path.exists() else []
            yield keys
            _replace(path, KeyRing(keys=tuple(keys)).model_dump_json(indent=2).encode() + b"\n")
    except OSError as error:
        raise KeysUnusable(
            f"the keys' file {path} cannot be written: {error.strerror}. Name another one."
        ) from error


@contextmanager
def _only_writer(path: Path) -> Iterator[None]:
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if os.name == "posix":
            import fcntl  # noqa: PLC0415 - absent elsewhere, where one writer is trusted to be alone

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(path: Path, content: bytes) -> None:
    """Write beside it and rename: readers see the old file or the new one. Only the owner may read it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            Path(name).chmod(stat.S_IMODE(path.stat().st_mode))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _digest(token: str) -> bytes:
    """Remember hashes: the server's memory holds no keys."""
    return hashlib.sha256(token.encode("ascii")).digest()


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns)
