"""Everything that a worker process must know."""

from __future__ import annotations

from pathlib import Path

from ..dicomweb import ArchiveList
from ..jobs.limits import QueueLimits  # noqa: TC001 - pydantic reads the annotation
from ..jobs.worker import WorkerTiming
from ..schema import Frozen
from .devices import Device  # noqa: TC001 - pydantic reads the annotation
from .runtime import EngineSettings  # noqa: TC001 - pydantic reads the annotation


class Served(Frozen):
    """One bundle.

    Attributes:
        label: the operator's name for it.
        origin: where the operator says that it is.
        path: where that led when it was last accepted. What is done to a link counts from the next reload on.
    """

    label: str
    origin: Path
    path: Path


class WorkerPlan(Frozen):
    """Sent to a worker process when it starts.

    Attributes:
        name: of this process alone, among all that ever were.
        device: where its networks run.
        bundles: its models.
        engine: how networks are run.
        folder, database_url, limits: of the jobs, see ``Ground.open``.
        archives: that series are fetched from, and results stored in.
        timing: seconds between things.
        grace: seconds for the running job after SIGTERM.
        opening: seconds for each model to be opened and tested, after which the process is ended.
        telemetry: whether spans of jobs are exported.
    """

    name: str = ""
    device: Device
    bundles: tuple[Served, ...]
    engine: EngineSettings
    folder: Path = Path()
    database_url: str | None = None
    limits: QueueLimits
    archives: ArchiveList = ArchiveList()
    timing: WorkerTiming = WorkerTiming()
    grace: float = 30.0
    opening: float = 900.0
    telemetry: bool = False


def served(bundles: tuple[Path, ...]) -> tuple[Served, ...]:
    """Label bundles by their file names, numbered where two are alike.

    Example:
        >>> from pathlib import Path
        >>> [bundle.label for bundle in served((Path("a/model"), Path("b/model")))]
        ['model', 'model (1)']
    """
    found: dict[str, Path] = {}
    for index, path in enumerate(bundles):
        name = path.absolute().name
        found[name if name not in found else f"{name} ({index})"] = path.absolute()
    return tuple(Served(label=label, origin=path, path=path.resolve()) for label, path in found.items())
