"""``nnunet-losses evaluate``."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nnunet_losses.ending import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .folders import Evaluation, Options
    from .pairs import Problem
    from .summary import LabelSummary


LISTED = 20  # problems on the screen


class ConnectivityName(StrEnum):
    """Which neighbours join a lesion."""

    FACE = "6"
    EDGE = "18"
    CORNER = "26"


class MatchingName(StrEnum):
    """Which lesions belong together."""

    ONE_TO_ONE = "one-to-one"
    OVERLAP = "overlap"


PredictionsFolder = Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Predicted masks.")]
ReferencesFolder = Annotated[
    Path, typer.Argument(exists=True, file_okay=False, help="Reference masks, under the same names.")
]


def evaluate_command(
    predictions: PredictionsFolder,
    references: ReferencesFolder,
    *,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=1,2",
            help="Label to evaluate, by its mask values; repeatable.",
            show_default="those of dataset.json beside the masks, else all that occur",
        ),
    ] = None,
    ignore: Annotated[
        int | None, typer.Option(help="Value of the references where nothing is evaluated; with --label.")
    ] = None,
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="dataset.json", help="nnU-Net's labels.", exists=True, dir_okay=False),
    ] = None,
    convention: Annotated[
        list[str] | None,
        typer.Option(help="What empty masks are worth; repeatable.", show_default="all, side by side"),
    ] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Of NSD, in millimetres (pixels).")] = 1.0,
    connectivity: Annotated[
        ConnectivityName, typer.Option(help="Of lesions, in 3D; in 2D 6 means 4, the others 8.")
    ] = ConnectivityName.CORNER,
    matching: Annotated[MatchingName, typer.Option(help="Of lesions.")] = MatchingName.ONE_TO_ONE,
    minimum_iou: Annotated[
        float, typer.Option(min=0, max=1, help="Of a one-to-one pair; 0: any common voxel.")
    ] = 0.0,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            help="Folder with nnU-Net's CASE.npz, for the calibration error and AUROC.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="Presence scores {case: {label: score}}, for AUROC.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="List cases that cannot be evaluated; evaluate the rest.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 2000,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    processes: Annotated[int, typer.Option(min=1, help="Cases evaluated at once.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for evaluation.json, summary.csv, cases.csv.", file_okay=False
        ),
    ] = None,
    nnunet_summary: Annotated[
        Path | None, typer.Option(metavar="summary.json", help="Write nnU-Net's file.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
) -> None:
    """Compare predicted masks with references: overlap, surfaces, lesions, lesion-free cases.

    Exits with 1 where cases are missing, extra, unreadable or on another grid, unless --allow-missing.
    """
    from .case import Settings
    from .conventions import CONVENTIONS, find_convention
    from .lesions import Connectivity, Matching
    from .pairs import NotComparableError
    from .summary import summarise

    try:
        conventions = [find_convention(name).name for name in convention or CONVENTIONS]
        neighbours = Connectivity(int(connectivity))
        settings = Settings(tolerance, neighbours, Matching(matching.value), minimum_iou)
        options = _options(label, ignore, dataset, scores)
        options = replace(options, settings=settings, probabilities=probabilities, processes=processes,
                          allow_missing=allow_missing)  # fmt: skip
        evaluation = _evaluate(predictions, references, options)
        edges = evaluation.units.size_edges
        summaries = summarise(evaluation.cases, conventions=conventions, seed=seed, resamples=resamples,
                              level=level, size_edges=edges)  # fmt: skip
        _write(evaluation, summaries, output, nnunet_summary)
    except NotComparableError as error:
        _refuse(error.problems, as_json=as_json)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except OSError as error:
        raise typer.BadParameter(f"{error.filename}: {error.strerror}.") from error
    _print(evaluation, summaries, as_json=as_json)


def _options(
    labels: list[str] | None, ignore: int | None, dataset: Path | None, scores: Path | None
) -> Options:
    from .folders import Options, read_description
    from .labels import LabelSet

    if labels and dataset:
        raise ValueError("--label and --dataset both name the labels; give one of them")
    if ignore is not None and not labels:
        raise ValueError("--ignore needs --label; dataset.json names its own ignore label")
    return Options(
        labels=LabelSet.of_options(labels, ignore) if labels else None,
        description=None if dataset is None else read_description(dataset),
        scores=None if scores is None else _scores(scores),
    )


def _scores(file: Path) -> dict[str, dict[str, float]]:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(dict[str, dict[str, float]]).validate_json(file.read_bytes())
    except ValidationError as error:
        expected = '{"case": {"label": 0.9}}'
        raise ValueError(f"{file} is not of the form {expected}: {error.errors()[0]['msg']}") from error


def _evaluate(predictions: Path, references: Path, options: Options) -> Evaluation:
    from rich.console import Console
    from rich.progress import Progress

    from .folders import evaluate_folders

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("cases", total=None)

        def count(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return evaluate_folders(predictions, references, options, progress=count)


def _write(
    evaluation: Evaluation, summaries: Sequence[LabelSummary], output: Path | None, nnunet: Path | None
) -> None:
    import json

    from nnunet_losses.serve.formats import write_text

    from .nnunet_summary import nnunet_summary_text
    from .report import as_csv, as_json, case_rows, summary_rows

    if nnunet is not None:
        nnunet.parent.mkdir(parents=True, exist_ok=True)
        write_text(nnunet_summary_text(evaluation), nnunet)
    if output is None:
        return
    output.mkdir(parents=True, exist_ok=True)
    content = json.dumps(as_json(evaluation, summaries), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(content + "\n", output / "evaluation.json")
    write_text(as_csv(summary_rows(summaries)), output / "summary.csv")
    write_text(as_csv(case_rows(evaluation.cases)), output / "cases.csv")


def _print(evaluation: Evaluation, summaries: Sequence[LabelSummary], *, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    from nnunet_losses.serve.console import print_json

    from . import report

    if as_json:
        print_json(report.as_json(evaluation, summaries))
        return
    Console().print(report.table(evaluation, summaries))
    for note in report.notes(evaluation):
        Console(stderr=True).print(escape(note), soft_wrap=True)
    _list(evaluation.problems)


def _refuse(problems: Sequence[Problem], *, as_json: bool) -> NoReturn:
    from dataclasses import asdict

    from rich.console import Console

    from nnunet_losses.serve.console import print_json

    if as_json:
        print_json({"problems": [asdict(problem) for problem in problems]})
    else:
        _list(problems)
        Console(stderr=True).print("Nothing was evaluated; --allow-missing evaluates the other cases.")
    raise typer.Exit(ExitCode.FAILED)


def _list(problems: Sequence[Problem]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    for problem in problems[:LISTED]:
        words = f"{escape(problem.case)} [yellow]{problem.code}[/]: {escape(problem.detail)}"
        console.print(words, soft_wrap=True)
    if len(problems) > LISTED:
        console.print(f"... and {len(problems) - LISTED} more; --json lists all.")
