"""Full disks, locked databases and absent servers, as refusals. Messages of drivers are not passed on."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from .errors import JobCode, JobRefusal

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

# https://www.sqlite.org/rescode.html: the low byte is the primary code
_SQLITE = {5: JobCode.STORAGE_BUSY, 6: JobCode.STORAGE_BUSY, 13: JobCode.STORAGE_FULL}
# https://www.postgresql.org/docs/15/errcodes-appendix.html
_POSTGRESQL = {
    "53100": JobCode.STORAGE_FULL,
    "55P03": JobCode.STORAGE_BUSY,
    "40001": JobCode.STORAGE_BUSY,
    "40P01": JobCode.STORAGE_BUSY,
    "53300": JobCode.STORAGE_BUSY,
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BUSY_SECONDS = 2

_WORDS = {
    JobCode.STORAGE_BUSY: (
        "The job database is locked by somebody else.",
        "Try again; if it lasts, look for a program that holds it open in a transaction.",
    ),
    JobCode.STORAGE_FULL: (
        "The disk of the job database is full.",
        "Free space on it; nothing that was accepted is lost.",
    ),
    JobCode.STORAGE_UNAVAILABLE: (
        "The job database cannot be used.",
        "Check that it runs, that its URL is right, and that this user may write to it.",
    ),
}


def refusal_of(error: DBAPIError) -> JobRefusal:
    """Say what an error of the database means."""
    code = _code_of(error.orig)
    detail, remedy = _WORDS[code]
    retry_after = _BUSY_SECONDS if code is JobCode.STORAGE_BUSY else None
    name = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    return JobRefusal(code, detail, remedy=remedy, retry_after=retry_after, observed=name)


def _code_of(original: BaseException | None) -> JobCode:
    sqlite_code: int = getattr(original, "sqlite_errorcode", 0) & 0xFF
    state: str = getattr(original, "sqlstate", None) or ""
    return _SQLITE.get(sqlite_code) or _POSTGRESQL.get(state) or JobCode.STORAGE_UNAVAILABLE


def is_full(error: OSError) -> bool:
    """Whether the disk, a quota or a size limit stopped a write."""
    return error.errno in _FULL


def full_disk(what: str) -> JobRefusal:
    """Refuse to keep something that the disk has no room for."""
    return JobRefusal(
        JobCode.STORAGE_FULL,
        f"The disk has no room for {what}.",
        remedy="Free space on it, or shorten the retention of finished jobs, and send the job again.",
    )
