"""Folders of files that appear all at once or not at all.

A folder is filled under ``staging``, its files are forced to the disk, and it is renamed into ``published``.
Names on the disk are random; a job's artifacts are seen only once the database says that it succeeded.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from .errors import JobCode, JobRefusal
from .records import Artifact
from .storage_errors import full_disk, is_full

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_TOKEN = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,8}){0,3}")
_CHUNK = 1 << 20


class FolderStore:
    """Published folders under one root; staging lies on the same file system, so that a rename is atomic.

    Args:
        root: a folder of this store alone, made if it is absent, readable by its owner only.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     store = FolderStore(Path(folder) / "artifacts")
        ...     staging = store.stage("0" * 32)
        ...     _ = staging.add("answer", media_type="application/json").write_bytes(b"{}")
        ...     (answer,) = staging.publish()
        ...     with store.open(answer) as file:
        ...         answer.size, file.read()
        (2, b'{}')
    """

    def __init__(self, root: Path) -> None:
        self._staging = root / "staging"
        self._published = root / "published"
        for folder in (root, self._staging, self._published):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def stage(self, token: str) -> Staging:
        """Begin a folder.

        Raises:
            JobRefusal: ``storage.full``, ``artifact.invalid``.
        """
        folder = self._staging / _checked(token, _TOKEN, "a token of 32 hexadecimal digits", "new_token()")
        with _disk_errors("a new folder"):
            folder.mkdir(mode=0o700)
        return Staging(folder, self._published / token)

    def open(self, artifact: Artifact) -> BinaryIO:
        """Open a published file to read.

        Raises:
            JobRefusal: ``artifact.damaged``, it is gone or has another size than was recorded.
        """
        path = self.path(artifact)
        size = path.stat().st_size if path.is_file() else None
        if size == artifact.size:
            return path.open("rb")
        raise JobRefusal(
            JobCode.ARTIFACT_DAMAGED,
            f"The artifact {artifact.name!r} has {'no file' if size is None else f'{size} bytes'} "
            f"on the disk, {artifact.size} bytes were recorded.",
            remedy="Send the job again; let the operator check the disk.",
            observed=size,
            expected=artifact.size,
        )

    def path(self, artifact: Artifact) -> Path:
        """Tell where a published file lies."""
        return self._published / artifact.folder / artifact.file

    def folder(self, token: str) -> Path:
        """Tell where a published folder lies."""
        return self._published / _checked(token, _TOKEN, "a token of 32 hexadecimal digits", "new_token()")

    def tokens(self, *, changed_before: float | None = None) -> frozenset[str]:
        """List all folders, staged and published, or those not changed since a time (seconds since 1970)."""
        folders = [*self._staging.iterdir(), *self._published.iterdir()]
        return frozenset(folder.name for folder in folders if _is_older(folder, changed_before))

    def remove(self, tokens: Collection[str]) -> None:
        """Delete folders, staged or published; absent ones are no error."""
        for token in tokens:
            for parent in (self._published, self._staging):
                shutil.rmtree(parent / token, ignore_errors=True)


class Staging:
    """A folder that is being filled. Made by ``FolderStore.stage``."""

    def __init__(self, folder: Path, target: Path) -> None:
        self._folder = folder
        self._target = target
        self._added: dict[str, tuple[str, str]] = {}  # name -> media type, file

    def add(self, name: str, *, media_type: str, suffix: str = "") -> Path:
        """Announce a file and get the path to write it to: a random name with this suffix.

        Raises:
            JobRefusal: ``artifact.invalid``, the name or suffix is not allowed, or taken.
        """
        _checked(name, _NAME, "a name of 1 to 64 of a-z 0-9 _ . -", "a fixed word, as 'mask'")
        _checked(suffix, _SUFFIX, "a suffix as '.nii.gz'", "the format's ending")
        if name in self._added:
            raise _invalid(f"The artifact {name!r} was added before.", "Add each name once.", observed=name)
        file = secrets.token_hex(16) + suffix
        self._added[name] = (media_type, file)
        return self._folder / file

    def keep(self, name: str, *, media_type: str) -> None:
        """Announce a file that lies in the folder already, and keep its name.

        Raises:
            JobRefusal: ``artifact.invalid``, the name is not allowed, or taken.
        """
        self.add(name, media_type=media_type)
        self._added[name] = (media_type, name)

    def scratch(self) -> Path:
        """Make a folder for what is needed on the way only; it is not published."""
        folder = self._folder / f".{secrets.token_hex(8)}"
        with _disk_errors("a new folder"):
            folder.mkdir(mode=0o700)
        return folder

    @property
    def token(self) -> str:
        """Name of the folder, under which the store finds it."""
        return self._target.name

    @property
    def folder(self) -> Path:
        """Where the files lie until they are published."""
        return self._folder

    def publish(self) -> tuple[Artifact, ...]:
        """Force the files to the disk and make the folder final; what was not announced is deleted.

        Raises:
            JobRefusal: ``storage.full``; ``artifact.invalid``, an announced file was not written. Nothing is
                left of the folder then.
        """
        try:
            with _disk_errors("the job's artifacts"):
                artifacts = tuple(self._settle(name) for name in self._added)
                self._delete_unannounced()
                _sync_folder(self._folder)
                self._folder.rename(self._target)
                _sync_folder(self._target.parent)
        except BaseException:
            self.discard()
            raise
        return artifacts

    def discard(self) -> None:
        """Delete the folder, published or not."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.rmtree(self._target, ignore_errors=True)

    def _settle(self, name: str) -> Artifact:
        media_type, file = self._added[name]
        path = self._folder / file
        if not path.exists() or not stat.S_ISREG(path.lstat().st_mode):
            raise _invalid(f"The artifact {name!r} was not written as a file.", "Write it to the path given.")
        size, sha256 = _sync_and_hash(path)
        folder = self._target.name
        return Artifact(name=name, media_type=media_type, size=size, sha256=sha256, folder=folder, file=file)

    def _delete_unannounced(self) -> None:
        announced = {file for _, file in self._added.values()}
        for path in self._folder.iterdir():
            if path.name not in announced:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


@contextmanager
def _disk_errors(what: str) -> Iterator[None]:
    """Turn a full disk into a refusal."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise full_disk(what) from error
        raise


def _checked(value: str, pattern: re.Pattern[str], expected: str, remedy: str) -> str:
    if pattern.fullmatch(value) is None:
        raise _invalid(f"{value!r} is not {expected}.", f"Use {remedy}.", observed=value)
    return value


def _invalid(detail: str, remedy: str, *, observed: str | None = None) -> JobRefusal:
    return JobRefusal(JobCode.ARTIFACT_INVALID, detail, remedy=remedy, observed=observed)


def _is_older(folder: Path, changed_before: float | None) -> bool:
    if changed_before is None:
        return True
    try:
        return folder.stat().st_mtime < changed_before
    except FileNotFoundError:  # published or removed meanwhile
        return False


def _sync_and_hash(path: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as file:
        for chunk in _chunks(file):
            digest.update(chunk)
            size += len(chunk)
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK):
        yield chunk


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
