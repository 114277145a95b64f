"""``nnunet-losses predict`` and ``nnunet-losses inspect``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from nnunet_losses.ending import ExitCode

from .policies import EmptyPolicy, EmptySeg, OodPolicy

if TYPE_CHECKING:
    from .errors import Refusal
    from .formats import Case, Incomplete
    from .outputs.case_files import FurtherFiles
    from .schema import ModelDescription


class BackendName(StrEnum):
    """Engines; ``auto`` takes the fastest that is installed and works."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"


class PrecisionName(StrEnum):
    """What networks compute with; ``auto`` reduces it only where the bundle holds the proof."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "int8"


BundlePath = Annotated[
    Path, typer.Argument(metavar="BUNDLE", help="What `nnunet-losses export` wrote: a folder or a zip file.")
]
ENGINE_HELP = "Engine for the network."
PRECISION_HELP = "Of the network; auto reduces it only where the bundle holds the proof that it does no harm."
BackendOption = Annotated[BackendName, typer.Option("--backend", help=ENGINE_HELP)]
PrecisionOption = Annotated[PrecisionName, typer.Option("--precision", help=PRECISION_HELP)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of tables.")]


def predict_command(
    bundle: BundlePath,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="INPUT...",
            help="Folders, or files named as in nnU-Net (CASE_0000.nii.gz); folders or zips of DICOM series.",
        ),
    ] = None,
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for masks and answers.", file_okay=False)
    ],
    channel: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="One case, channel by channel; repeatable.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="Name of the case given by --channel.")] = None,
    backend: BackendOption = BackendName.AUTO,
    precision: PrecisionOption = PrecisionName.AUTO,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the network.", show_default="all cores")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Answer cases again that have an answer in the output folder.")
    ] = True,
    step: Annotated[
        float | None,
        typer.Option(min=0.1, max=1.0, help="Approximate: distance of tiles in patches.", show_default="0.5"),
    ] = None,
    mirror: Annotated[
        bool, typer.Option("--mirror/--no-mirror", help="Approximate: without mirrored passes.")
    ] = True,
    skip_background: Annotated[
        bool, typer.Option("--skip-background", help="Look at tiles without any content only once.")
    ] = False,
    ood: Annotated[
        OodPolicy,
        typer.Option(
            help="Images unlike the known ones: state it, warn, empty the mask, or give none (exit code 3)."
        ),
    ] = OodPolicy.FLAG,
    empty: Annotated[
        EmptyPolicy,
        typer.Option(
            help="Empty answers: state it, warn, also write the mask before anything was removed (CASE_raw), "
            "or give none (exit code 3)."
        ),
    ] = EmptyPolicy.FLAG,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write a map of the uncertainty (CASE_uncertainty).")
    ] = False,
    outputs: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="Also write: nifti, nrrd, mha, seg, rtstruct (DICOM), stl, glb (meshes), png (overlay), "
            "probabilities.",
        ),
    ] = "",
    empty_seg: Annotated[
        EmptySeg,
        typer.Option(help="An empty DICOM SEG or RTSTRUCT: write it, or leave it out."),
    ] = EmptySeg.EMIT,
    orientation: Annotated[
        str | None,
        typer.Option(
            metavar="RAS", help="How the training images lay, for DICOM series.", show_default="the bundle's"
        ),
    ] = None,
    overlap: Annotated[
        bool, typer.Option(help="Read the next case and write the last one while the network works.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Segment images without PyTorch: a mask and an honest answer (CASE.json) for each case.

    Exit code 0: all cases were answered.

    Exit code 1: some could not be read, or an engine failed; CASE.problem.json says why.

    Exit code 2: the command line is wrong, or names no bundle.

    Exit code 3: some images are not what the model was made for, or --ood or --empty rejected them; the
    answer says why.

    Exit code 130: stopped by Ctrl-C; the files that were written are whole.
    """
    from .approximations import Approximations
    from .batch import Batch, Stopped
    from .bundle import Bundle
    from .console import report, report_stopped, run_with_progress
    from .errors import Refusal
    from .outputs import Options
    from .outputs.case_files import FurtherFiles
    from .policies import Policies
    from .predictor import Predictor

    if bool(inputs) == bool(channel):
        raise typer.BadParameter("Name images, or one case by --channel NAME=FILE; one of the two.")
    if case is not None and not channel:
        raise typer.BadParameter(
            "--case names the case that --channel gives; others have their files' names."
        )
    try:
        kinds = tuple(filter(None, (word.strip() for word in outputs.split(","))))
        further = FurtherFiles.of(kinds, Options(empty_seg=empty_seg))
        predictor = Predictor(
            Bundle.load(bundle),
            backend=backend.value,
            precision=precision.value,
            threads=threads,
            approximations=Approximations(step=step, mirror=mirror, skip_background=skip_background),
            policies=Policies(ood, empty, uncertainty),
            orientation=_orientation(orientation),
        )
        description = predictor.bundle.description
        cases = _named_case(channel, case, description) if channel else found_cases(inputs or [], description)
        _check_output(cases, output, description, further)
        _ = predictor.engine.provider  # opens the network: a missing engine is no case's fault
        results = run_with_progress(Batch(predictor, output, overwrite, overlap, further), cases)
    except Refusal as refusal:
        stop(refusal, as_json=as_json)
    except OSError as error:
        raise typer.BadParameter(f"{output} cannot be written to: {error.strerror}.") from error
    except Stopped as stopped:
        raise typer.Exit(report_stopped(stopped, as_json=as_json)) from stopped
    raise typer.Exit(report(results, as_json=as_json))


def _orientation(code: str | None) -> str | None:
    from .formats.turning import is_orientation

    if code is not None and not is_orientation(code.upper()):
        raise typer.BadParameter(
            f"--orientation {code!r} is not of the form RAS: R or L, A or P, and S or I, in any order."
        )
    return None if code is None else code.upper()


def inspect_command(bundle: BundlePath, *, as_json: AsJson = False) -> None:
    """Print what a bundle is: labels, channels, preprocessing, folds, parity, variants, files, provenance.

    Exits with 1 where its files are not the ones that were exported, with 2 where it is no bundle.
    """
    from .errors import Refusal
    from .inspection import Inspection, print_inspection

    try:
        inspection = Inspection.of(bundle)
    except Refusal as refusal:
        stop(refusal, as_json=as_json)
    print_inspection(inspection, as_json=as_json)
    raise typer.Exit(ExitCode.DONE if inspection.damage is None else ExitCode.FAILED)


def found_cases(inputs: list[Path], description: ModelDescription) -> list[Case | Incomplete]:
    """Cases in folders and files; for commands that take images."""
    from .formats import find_cases

    return find_cases(inputs, description)


def _named_case(
    channels: list[str], name: str | None, description: ModelDescription
) -> list[Case | Incomplete]:
    from .errors import Code, Refusal
    from .formats import case_from_channels

    pairs = [text.partition("=") for text in channels]
    for text, (channel, _, file) in zip(channels, pairs, strict=True):
        if not channel or not file:
            raise typer.BadParameter(f"--channel {text!r} is not of the form NAME=FILE.")
    if name is not None and (not name or name.startswith(".") or set(name) & set("/\\\0")):
        raise typer.BadParameter(
            f"--case {name!r} cannot be a file's name. Take one without slashes that begins with no dot."
        )
    try:
        return [
            case_from_channels([(channel, Path(file)) for channel, _, file in pairs], description, name=name)
        ]
    except Refusal as refusal:
        if refusal.code is not Code.CONTRACT_CHANNEL_NAME:
            raise
        raise typer.BadParameter(str(refusal)) from refusal


def _check_output(
    cases: list[Case | Incomplete], folder: Path, description: ModelDescription, further: FurtherFiles
) -> None:
    from .formats import Case
    from .result_files import check_output

    try:
        for case in cases:
            if isinstance(case, Case):
                check_output(case, folder, description)
                further.check(case, folder)
    except ValueError as error:
        raise typer.BadParameter(f"--output: {error}.") from error


def stop(refusal: Refusal, *, as_json: bool) -> NoReturn:
    """Print a refusal, and end; for commands that read bundles."""
    from .console import print_refusal
    from .exit_codes import exit_code_of

    print_refusal(refusal, as_json=as_json)
    raise typer.Exit(exit_code_of(refusal))
