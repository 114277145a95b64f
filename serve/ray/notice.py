"""That a deployment is being stopped: what every ingress replica must know at once."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - travels to the replicas


class StoppingNotice:
    """A file in the folder that all machines see, for one deployment.

    Args:
        folder: of the jobs.
        deployment: a random name.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     notice = StoppingNotice(Path(folder), "a1b2")
        ...     before = notice.is_posted
        ...     notice.post()
        ...     before, notice.is_posted
        (False, True)
    """

    def __init__(self, folder: Path, deployment: str) -> None:
        self._file = folder / f"stopping-{deployment}"

    def post(self) -> None:
        """Let no replica take jobs any more."""
        self._file.touch()

    @property
    def is_posted(self) -> bool:
        """Whether the deployment is being stopped."""
        return self._file.exists()

    def remove(self) -> None:
        """Forget, at the deployment's end."""
        self._file.unlink(missing_ok=True)
