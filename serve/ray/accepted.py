"""Which bundles were accepted last: what a predictor opens that is started in the place of a dead one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from ..workers.plan import Served

_PATHS = TypeAdapter(dict[str, Path])


class AcceptedBundles:
    """A file in the folder that all machines see, for one deployment.

    Ray starts an actor again with the arguments of its first start, which a reload may have outdated.

    Args:
        folder: of the jobs.
        deployment: a random name; a later deployment begins with the operator's paths.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     accepted = AcceptedBundles(Path(folder), "a1b2")
        ...     accepted.note("brain", Path("/bundles/brain-2"))
        ...     accepted.read()["brain"].name
        'brain-2'
    """

    def __init__(self, folder: Path, deployment: str) -> None:
        self._file = folder / f"accepted-{deployment}.json"

    def read(self) -> dict[str, Path]:
        """Give the accepted paths by label; nothing for bundles that never were reloaded."""
        if not self._file.exists():
            return {}
        return _PATHS.validate_json(self._file.read_bytes())

    def note(self, label: str, path: Path) -> None:
        """Let predictors that are started later open a bundle from here."""
        draft = self._file.with_suffix(".draft")
        draft.write_bytes(_PATHS.dump_json({**self.read(), label: path}))
        draft.replace(self._file)

    def apply(self, bundles: tuple[Served, ...]) -> tuple[Served, ...]:
        """Replace the operator's paths by those that were accepted since."""
        paths = self.read()
        return tuple(
            bundle.model_copy(update={"path": paths.get(bundle.label, bundle.path)}) for bundle in bundles
        )

    def remove(self) -> None:
        """Forget, at the deployment's end."""
        self._file.unlink(missing_ok=True)
