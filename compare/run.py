"""The whole comparison: prepare once, run the cells somewhere, report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from rich.console import Console
from rich.markup import escape

from .origin import different_origins
from .preparation import Source, find_source, prepare, read_prepared
from .progress import live
from .results import FAILURE_FILE, read_failure, read_result
from .study import STUDY_FILE, Settings, Study, StudyError, loss_configuration, read_study

if TYPE_CHECKING:
    from pathlib import Path

NOTE_FILE = "note.txt"


@dataclass(frozen=True)
class Request:
    """What was asked for; ``settings``: those of ``Settings`` without the data set, device "auto" allowed."""

    dataset: str
    losses: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: int
    settings: dict[str, Any]
    test: Path | None = None
    negatives: Path | None = None
    ood: Path | None = None
    note: str = ""


@dataclass(frozen=True)
class Where:
    """Where cells run, and how many at once."""

    executor: str = "local"
    slots: int | None = None
    workers: int = 0
    ray_address: str | None = None


def compare(request: Request, output: Path, where: Where) -> bool:
    """Run a comparison, or go on with it; whether every cell has a result.

    Raises:
        StudyError: it cannot be made; the message says why and what to do.
    """
    for loss in request.losses:
        loss_configuration(loss)  # before anything takes long
    console = Console(stderr=True)
    output.mkdir(parents=True, exist_ok=True)
    with FileLock(output / "lock"):
        study = _prepared_study(request, output, console, elsewhere=where.executor != "local")
    if where.executor == "slurm":
        from .executors.slurm import slurm_script  # noqa: PLC0415 - the chosen one only

        print(slurm_script(output, study, workers=where.workers), end="")  # noqa: T201 - it is the output
        return True
    _forget_failures(output, study)
    with live(output, study, console):
        _run(study, output, where)
    return _told(output, study, console)


def _told(output: Path, study: Study, console: Console) -> bool:
    """Write the report, if there is anything to report, and name the cells without a result."""
    failed = [cell for cell in study.cells if read_result(cell.folder(output)) is None]
    if len(failed) < len(study.cells):
        console.print(f"report: {escape(str(report(output)))}", soft_wrap=True)
    for cell in failed:
        failure = read_failure(cell.folder(output))
        reason = escape(failure.reason) if failure else f"it left no reason; see {cell.folder(output)}"
        console.print(f"[red]{cell.name} failed[/]: {reason}", soft_wrap=True)
    if len(failed) == len(study.cells):
        console.print("no report: no cell has a result. The same command tries them again.", soft_wrap=True)
    return not failed


def report(output: Path) -> Path:
    """Write the report of the cells that are done, and return the page.

    Raises:
        StudyError: there is no comparison, or none of its cells is done.
    """
    from .report.writing import write_report  # noqa: PLC0415 - draws

    study, note = read_study(output), output / NOTE_FILE
    words = [note.read_text("utf-8")] if note.is_file() else []
    done = [cell.folder(output) for cell in study.cells if read_result(cell.folder(output)) is not None]
    words += [*read_prepared(output).notes, *filter(None, [different_origins(done)])]
    return write_report(output, study, note=" ".join(words))


def _prepared_study(request: Request, output: Path, console: Console, *, elsewhere: bool) -> Study:
    """Prepare; ``elsewhere``: the cells run on other machines, which may have what this one has not."""
    folders, name = find_source(request.dataset, output)
    device = request.settings["device"]
    device = device if elsewhere and device == "cuda" else _device(device)
    settings = Settings(dataset=name, **{**request.settings, "device": device})
    study = Study(
        settings=settings, losses=request.losses, folds=request.folds, seeds=tuple(range(request.seeds))
    )
    if (output / STUDY_FILE).is_file():
        study = study.joined(read_study(output))
    source = Source(folders, name, request.test, request.negatives, request.ood)
    with console.status("preparing: plans, preprocessed data, splits"):
        prepared = prepare(source, settings, study.folds, output)
    for words in prepared.notes:
        console.print(f"[yellow]{escape(words)}[/]", soft_wrap=True)
    if request.note:
        (output / NOTE_FILE).write_text(request.note, "utf-8")
    study.write(output)
    return study


def _device(wanted: str) -> str:
    if wanted in ("cpu", "mps"):
        return wanted
    if wanted not in ("cuda", "auto"):
        raise StudyError(f"the device is {wanted!r}; choose auto, cuda, cpu or mps")
    import torch  # noqa: PLC0415 - heavy

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not torch.cuda.is_available():
        raise StudyError("PyTorch sees no CUDA device; choose --device cpu, or install PyTorch for CUDA")
    return wanted


def _run(study: Study, output: Path, where: Where) -> None:
    cells = [cell for cell in study.cells if read_result(cell.folder(output)) is None]
    cuda = study.settings.device == "cuda"
    if not cells:
        return
    if where.executor == "ray":
        from .executors.ray_cluster import run_ray  # noqa: PLC0415 - the chosen one only

        run_ray(output, cells, cpus=study.settings.threads + where.workers, gpus=int(cuda),
                workers=where.workers, address=where.ray_address)  # fmt: skip
        return
    from .executors.local import run_local  # noqa: PLC0415 - the chosen one only

    devices = _cuda_devices() if cuda else []
    run_local(output, cells, slots=where.slots or len(devices) or 1, workers=where.workers, devices=devices)


def _cuda_devices() -> list[str]:
    import torch  # noqa: PLC0415 - heavy

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]


def _forget_failures(output: Path, study: Study) -> None:
    """A cell that failed is tried again: its reason may be gone."""
    for cell in study.cells:
        (cell.folder(output) / FAILURE_FILE).unlink(missing_ok=True)
