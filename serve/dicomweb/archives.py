"""The operator's archives by name: series from them, results to them, again where that can help."""

from __future__ import annotations

import time
from pathlib import Path  # noqa: TC003 - pydantic reads the annotation
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from nnunet_losses.serve.answer import Push, PushState
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.problems import problem_of
from nnunet_losses.serve.schema import Frozen

from .archive import Archive, Budget, too_large
from .origins import Origins

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .source import Source

    T = TypeVar("T")

PAUSES = (1.0, 4.0)  # seconds before the second and the third attempt
_SLICE = 0.2  # seconds between two looks at whether to stop


class ArchivePlace(Frozen):
    """One archive.

    Attributes:
        name: in requests.
        url: of its DICOMweb service.
        authorization: header that it gets; a secret.
        authorities: PEM file of who may have signed its certificate; None takes the usual ones.
    """

    name: str
    url: str
    authorization: str | None = Field(default=None, repr=False)
    authorities: Path | None = None


class ArchiveList(Frozen):
    """The archives that may be talked to, and what that may cost.

    Attributes:
        places: none by default.
        fetch_bytes, fetch_seconds: of all series of one case together, repetitions included.
        pause: seconds without a byte after which an archive counts as gone.
    """

    places: tuple[ArchivePlace, ...] = ()
    fetch_bytes: int = 2**30
    fetch_seconds: float = 300.0
    pause: float = 30.0


class Archives:
    """Fetches series and stores objects. One that does not answer is tried three times.

    Args:
        listed: by the operator.
        pauses: seconds before each further attempt.

    Example:
        >>> Archives().place("pacs")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        nnunet_losses.serve.errors.Refusal: This archive is not on the operator's list. It is empty: ...
    """

    def __init__(
        self,
        listed: ArchiveList = ArchiveList(),  # noqa: B008 - frozen
        *,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._listed = listed
        self._places = {place.name: place for place in listed.places}
        self._pauses = pauses

    def place(self, name: str) -> ArchivePlace:
        """Find an archive.

        Raises:
            Refusal: ``dicomweb.not_allowed``.
        """
        if name in self._places:
            return self._places[name]
        raise not_listed(tuple(self._places))

    def fetch(
        self, source: Source, folder: Path, *, check: Callable[[], None] = lambda: None
    ) -> tuple[Path, ...]:
        """Fetch all series of a case.

        Args:
            source: where they are.
            folder: gets one folder for each.
            check: called now and then; may raise to end it.

        Returns:
            The series' folders, in the channels' order.

        Raises:
            Refusal: ``dicomweb.*``; ``input.too_large``.
        """
        end = time.monotonic() + self._listed.fetch_seconds
        left, folders = self._listed.fetch_bytes, []
        for number, series in enumerate(source.series):
            folders.append(folder / f"channel_{number:04d}")
            folders[-1].mkdir()
            left -= self._fetch_one(source, series, folders[-1], left=left, end=end, check=check)
        return tuple(folders)

    def _fetch_one(
        self,
        source: Source,
        series: str,
        folder: Path,
        *,
        left: int,
        end: float,
        check: Callable[[], None],
    ) -> int:
        """Fetch one series, and tell its bytes."""

        def attempt() -> list[Path]:
            for file in folder.iterdir():  # of an attempt that broke off
                file.unlink()
            budget = Budget(left, self._listed.pause, max(0.0, end - time.monotonic()))
            archive = self._archive(source.archive, budget)
            return archive.fetch_series(source.study, series, folder, check=check)

        try:
            files = self._repeated(attempt, check=check, end=end)
        except Refusal as refusal:
            if refusal.code is Code.INPUT_TOO_LARGE and left < self._listed.fetch_bytes:
                raise too_large(self._listed.fetch_bytes) from refusal
            raise
        return sum(file.stat().st_size for file in files)

    def push(self, name: str, files: Mapping[str, Path], *, check: Callable[[], None] = lambda: None) -> Push:
        """Store objects, and say what became of it; what fails is no error.

        Args:
            name: of the archive.
            files: by kind, such as ``seg``.
            check: called now and then; may raise to end it.
        """
        attempts = 0

        def attempt() -> None:
            nonlocal attempts
            attempts += 1
            self._archive(name, Budget(seconds=self._listed.pause)).store(list(files.values()))

        state, problem = PushState.STORED, None
        try:
            self._repeated(attempt, check=check)
        except Refusal as refusal:
            state, problem = PushState.FAILED, problem_of(refusal)
        return Push(archive=name, state=state, objects=tuple(files), attempts=attempts, problem=problem)

    def _archive(self, name: str, budget: Budget) -> Archive:
        place = self.place(name)
        headers = {} if place.authorization is None else {"Authorization": place.authorization}
        return Archive(
            place.url,
            Origins((place.url,)),
            budget=budget,
            headers=headers,
            authorities=place.authorities,
        )

    def _repeated(
        self, attempt: Callable[[], T], *, check: Callable[[], None], end: float | None = None
    ) -> T:
        """Try until the archive answers."""
        for pause in self._pauses:
            check()
            try:
                return attempt()
            except Refusal as refusal:
                is_late = end is not None and time.monotonic() + pause >= end
                if refusal.code is not Code.DICOMWEB_UNREACHABLE or is_late:
                    raise
            _wait(pause, check)
        check()
        return attempt()


def not_listed(names: tuple[str, ...]) -> Refusal:
    """Refuse a name that the operator has not listed, without repeating it."""
    return Refusal(
        Code.DICOMWEB_NOT_ALLOWED,
        "This archive is not on the operator's list.",
        remedy="Choose one of `expected`."
        if names
        else "It is empty: the operator adds archives by --dicomweb.",
        expected=sorted(names),
    )


def _wait(seconds: float, check: Callable[[], None]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(left, _SLICE))
