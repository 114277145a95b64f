"""Folders that appear all at once or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.jobs.errors import JobCode

from .helpers import refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nnunet_losses.serve.jobs.artifacts import FolderStore

TOKEN = "0123456789abcdef" * 2


def visible(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "artifacts" / "published").rglob("*"))


def left_in_staging(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "artifacts" / "staging").iterdir())


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """The kernel refuses longer files (EFBIG), as it does on a full disk (ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_publish(store: FolderStore, tmp_path: Path) -> None:
    staging = store.stage(TOKEN)
    content = os.urandom(3_000_000)
    staging.add("mask", media_type="application/gzip", suffix=".nii.gz").write_bytes(content)
    staging.add("empty", media_type="text/plain").touch()
    assert visible(tmp_path) == []
    mask, empty = staging.publish()
    assert (mask.name, mask.media_type, mask.folder) == ("mask", "application/gzip", TOKEN)
    assert (mask.size, mask.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (empty.size, empty.sha256) == (0, hashlib.sha256(b"").hexdigest())
    with store.open(mask) as file:
        assert file.read() == content
    assert left_in_staging(tmp_path) == []
    assert "mask" not in "".join(visible(tmp_path))
    assert store.path(mask).name.endswith(".nii.gz")
    assert store.path(mask).stat().st_mode & 0o777 & ~0o644 == 0
    assert store.folder(TOKEN).stat().st_mode & 0o777 == 0o700


def test_what_was_not_announced_is_dropped(store: FolderStore) -> None:
    staging = store.stage(TOKEN)
    path = staging.add("answer", media_type="application/json")
    path.write_text("{}")
    (path.parent / "scratch").write_text("x")
    (path.parent / "folder").mkdir()
    (path.parent / "folder" / "deep").write_text("x")
    (path.parent / "link").symlink_to("/etc")
    staging.publish()
    assert [found.name for found in store.folder(TOKEN).iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["absent", "link", "folder"])
def test_announced_files_must_be_written(store: FolderStore, tmp_path: Path, kind: str) -> None:
    staging = store.stage(TOKEN)
    staging.add("good", media_type="text/plain").write_text("x")
    path = staging.add("mask", media_type="text/plain")
    if kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "folder":
        path.mkdir()
    with refused(JobCode.ARTIFACT_INVALID) as caught:
        staging.publish()
    assert "'mask'" in str(caught.value)
    assert (visible(tmp_path), left_in_staging(tmp_path)) == ([], [])


@pytest.mark.parametrize("name", ["", "../mask", "a/b", ".hidden", "Mask", "x" * 65, "mask\n", "mäsk"])
def test_wrong_names(store: FolderStore, name: str) -> None:
    with refused(JobCode.ARTIFACT_INVALID) as caught:
        store.stage(TOKEN).add(name, media_type="text/plain")
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("suffix", ["/..", "nii", ".nii/", ".NII", ".", ".a.b.c.d"])
def test_wrong_suffixes(store: FolderStore, suffix: str) -> None:
    with refused(JobCode.ARTIFACT_INVALID) as caught:
        store.stage(TOKEN).add("mask", media_type="text/plain", suffix=suffix)
    assert repr(suffix) in str(caught.value)


def test_wrong_token(store: FolderStore) -> None:
    for token in ("..", "a" * 31, "/etc"):
        with refused(JobCode.ARTIFACT_INVALID):
            store.stage(token)
        with refused(JobCode.ARTIFACT_INVALID):
            store.folder(token)


def test_names_are_taken_once(store: FolderStore) -> None:
    staging = store.stage(TOKEN)
    staging.add("mask", media_type="text/plain")
    with refused(JobCode.ARTIFACT_INVALID):
        staging.add("mask", media_type="text/plain")


def test_kernel_stops_the_write(store: FolderStore) -> None:
    """What a worker sees on a full disk: the error comes from the kernel, not from a stand-in."""
    path = store.stage(TOKEN).add("mask", media_type="text/plain")
    with file_size_limit(1000), pytest.raises(OSError, check=lambda error: error.errno == errno.EFBIG):
        path.write_bytes(bytes(2000))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", [0, 1, 2])
def test_full_disk_leaves_nothing(
    store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: int
) -> None:
    """Delayed allocation reports a full disk as late as at fsync: of the file, the folder, or its parent."""
    staging = store.stage(TOKEN)
    staging.add("mask", media_type="text/plain").write_bytes(b"x")
    calls = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call + 1:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with refused(JobCode.STORAGE_FULL):
        staging.publish()
    assert (visible(tmp_path), left_in_staging(tmp_path)) == ([], [])


def test_other_errors_are_not_taken_for_a_full_disk(
    store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = store.stage(TOKEN)
    staging.add("mask", media_type="text/plain").write_bytes(b"x")

    def fsync(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, check=lambda error: error.errno == errno.EIO):
        staging.publish()
    assert store.tokens() == frozenset()


def test_damaged_artifacts(store: FolderStore) -> None:
    staging = store.stage(TOKEN)
    staging.add("mask", media_type="text/plain").write_bytes(b"xyz")
    (mask,) = staging.publish()
    store.path(mask).write_bytes(b"xy")
    with refused(JobCode.ARTIFACT_DAMAGED) as caught:
        store.open(mask)
    assert (caught.value.observed, caught.value.expected) == (2, 3)
    store.remove([TOKEN])
    with refused(JobCode.ARTIFACT_DAMAGED):
        store.open(mask)
    store.remove([TOKEN])
