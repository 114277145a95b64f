"""``nnunet-losses stress``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnunet_losses.ending import ExitCode
from nnunet_losses.serve.commands import (
    AsJson,
    BackendName,
    BackendOption,
    BundlePath,
    PrecisionName,
    PrecisionOption,
    found_cases,
    stop,
)

if TYPE_CHECKING:
    from .run import StressTest


@dataclass(frozen=True)
class Wanted:
    """What was typed."""

    cases: int
    corruptions: str | None
    mirror: bool
    backend: BackendName
    precision: PrecisionName
    threads: int | None


def stress_command(
    bundle: BundlePath,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Folders or files, named as in nnU-Net.")
    ],
    *,
    report: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the report.", file_okay=False)],
    cases: Annotated[int, typer.Option(min=1, help="Try the first so many images.")] = 3,
    corruptions: Annotated[
        str | None,
        typer.Option(metavar="KEY,KEY", help="Only these damages; `list` names them.", show_default="all"),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror/--no-mirror", help="Without mirrored passes: up to eight times faster.")
    ] = True,
    backend: BackendOption = BackendName.AUTO,
    precision: PrecisionOption = PrecisionName.AUTO,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the network.", show_default="all cores")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What would this bundle catch? Damages your images in some 60 ways, and looks at the answers.

    Noise, blur, ghosts, cropped fields of view, flips, wrong spacings and units, swapped channels, blanks and
    more, most in three strengths. Writes report.html (one file, with pictures), stress.csv and stress.json.

    Exit code 0: tried. 1: the networks do not run. 2: the command line is wrong, or names no bundle or no
    image that can be read. 130: stopped by Ctrl-C; the report holds what was tried.
    """
    from nnunet_losses.serve.errors import Refusal

    from .console import list_corruptions

    if corruptions == "list":
        raise typer.Exit(list_corruptions())
    try:
        test = _test(bundle, images, Wanted(cases, corruptions, mirror, backend, precision, threads))
        code = _run(test, report, as_json=as_json)
    except Refusal as refusal:
        stop(refusal, as_json=as_json)
    except OSError as error:
        raise typer.BadParameter(f"{report} cannot be written to: {error.strerror}.") from error
    raise typer.Exit(code)


def _test(bundle: Path, images: list[Path], wanted: Wanted) -> StressTest:
    """Everything that can be wrong is found here, before the first image is tried."""
    from nnunet_losses.serve.approximations import Approximations
    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.predictor import Predictor

    from .run import StressTest
    from .trials import Memory

    memory = Memory()
    predictor = Predictor(
        Bundle.load(bundle),
        backend=wanted.backend.value,
        precision=wanted.precision.value,
        threads=wanted.threads,
        approximations=Approximations(mirror=wanted.mirror),
        read=memory,
    )
    found = found_cases(images, predictor.bundle.description)[: wanted.cases]
    _ = predictor.engine.provider  # opens the network: a missing engine is no image's fault
    return StressTest(predictor, memory, found, _keys(wanted.corruptions))


def _keys(corruptions: str | None) -> frozenset[str] | None:
    from .suite import CORRUPTIONS

    if corruptions is None:
        return None
    keys = frozenset(key.strip() for key in corruptions.split(",") if key.strip())
    unknown = sorted(keys - set(CORRUPTIONS))
    if unknown or not keys:
        named = ", ".join(unknown) or "nothing"
        raise typer.BadParameter(f"--corruptions names {named}; there are: {', '.join(CORRUPTIONS)}.")
    return keys


def _run(test: StressTest, report: Path, *, as_json: bool) -> int:
    from .console import print_result, progress_bar

    report.mkdir(parents=True, exist_ok=True)
    stopped = False
    try:
        with progress_bar(len(test.cases)) as progress:
            test.run(progress)
    except KeyboardInterrupt:
        stopped = True
    if not test.trials and not stopped:
        stop(test.unreadable[0][1], as_json=as_json)
    page = test.write(report)
    print_result(test, page, as_json=as_json)
    return ExitCode.INTERRUPTED if stopped else ExitCode.DONE
