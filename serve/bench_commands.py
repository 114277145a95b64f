"""``nnunet-losses bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnunet_losses.ending import ExitCode

from .commands import AsJson, BackendName, BundlePath, PrecisionName, found_cases, stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .bench_records import Contender, Report
    from .bundle import Bundle


CHART_ENDINGS = (".svg", ".png", ".pdf")


def bench_command(
    bundle: BundlePath,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Folders or files, named as in nnU-Net.")
    ],
    *,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL_FOLDER",
            help="Time nnUNetv2_predict on this trained model as well; it loads the checkpoint, so trust it.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Of nnU-Net: cpu or cuda.")] = "cpu",
    backend: Annotated[
        list[BackendName] | None, typer.Option(help="Engine; repeatable.", show_default="auto")
    ] = None,
    precision: Annotated[
        list[PrecisionName] | None, typer.Option(help="Of the network; repeatable.", show_default="auto")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Cores for each contender.", show_default="all")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Rounds; medians are printed.")] = 3,
    overlap: Annotated[
        bool, typer.Option(help="Let the cases' reading, network and writing overlap, as predict does.")
    ] = True,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw bars; needs matplotlib.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time a bundle stage by stage, and its memory, beside nnU-Net's own predictor in the same run.

    Every contender is a whole command in a fresh process, on the same cores; they take turns. Exits with 1
    where a contender failed.
    """
    from .backends.threads import allowed_cores
    from .bench_report import ChartImpossible, draw_chart, print_report
    from .bundle import Bundle
    from .console import print_json
    from .errors import Refusal

    cores = min(threads or allowed_cores(), allowed_cores())
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device {device} is unknown: choose cpu or cuda.")
    try:
        if chart is not None:
            _check_chart(chart)
        loaded = Bundle.load(bundle)
        engines = [(one.value, other.value) for one in backend or [BackendName.AUTO]
                   for other in precision or [PrecisionName.AUTO]]  # fmt: skip
        contenders = _contenders(bundle, loaded, engines, against, (device, cores, overlap))
        report = _bench(loaded, images, contenders, (repeat, cores, against is not None))
        if chart is not None:
            draw_chart(report, chart)
    except Refusal as refusal:
        stop(refusal, as_json=as_json)
    except (ChartImpossible, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(f"{chart} cannot be written: {error.strerror}.") from error
    if as_json:
        print_json(report.as_json())
    else:
        print_report(report)
    failed = any(summary.failure for summary in report.summaries)
    raise typer.Exit(ExitCode.FAILED if failed else ExitCode.DONE)


def _check_chart(chart: Path) -> None:
    """See before anything takes long whether the chart can be drawn."""
    from .bench_report import require_chart

    require_chart()
    if chart.suffix.lower() not in CHART_ENDINGS:
        raise ValueError(f"--chart {chart} must end in {', '.join(CHART_ENDINGS)}.")


def _contenders(
    path: Path,
    bundle: Bundle,
    engines: Sequence[tuple[str, str]],
    against: Path | None,
    setting: tuple[str, int, bool],
) -> list[Contender]:
    from .bench import own_contender, stock_contender

    if against is not None and not (against / "plans.json").is_file():
        raise ValueError(
            f"--against {against} holds no plans.json. Name what nnUNetv2_train wrote: the folder with "
            "plans.json and fold_0."
        )
    device, cores, overlap = setting
    extra = () if overlap else ("--no-overlap",)
    contenders = [
        own_contender(path, backend=backend, precision=precision, threads=cores, extra=extra)
        for backend, precision in dict.fromkeys(engines)
    ]
    return contenders if against is None else [*contenders, stock_contender(against, bundle, device=device)]


def _bench(
    bundle: Bundle, images: list[Path], contenders: list[Contender], setting: tuple[int, int, bool]
) -> Report:
    from .bench import run_bench
    from .console import bench_progress
    from .formats import Case

    found = found_cases(images, bundle.description)
    for case in found:
        if not isinstance(case, Case):
            raise case.refusal
    repeats, cores, has_reference = setting
    with bench_progress() as progress:
        return run_bench(
            bundle,
            [case for case in found if isinstance(case, Case)],
            contenders,
            repeats=repeats,
            cores=cores,
            has_reference=has_reference,
            progress=progress,
        )
