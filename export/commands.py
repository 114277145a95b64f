"""Commands of the exporter: export, verify."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from nnunet_losses.ending import ExitCode, leave
from nnunet_losses.serve.commands import BackendName, BackendOption, PrecisionName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FOLDS = "--folds"
_NEEDED = ("torch", "nnunetv2", "onnx", "onnxscript", "onnxruntime")
_NEEDED_BY_VARIANTS = ("onnx", "onnxruntime")
_DAMAGED = ("bundle.hash_mismatch", "bundle.unsupported")  # then parity has failed, whatever the images say


class ManyFolds(TyperCommand):
    """Lets ``--folds`` take several values, as nnU-Net's own commands do: ``--folds 0 1 all``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give every fold an option of its own before the parser sees them."""
        return super().parse_args(ctx, one_fold_an_option(args))


def one_fold_an_option(args: Sequence[str]) -> list[str]:
    """Write ``--folds 0 1`` and ``--folds 0,1`` as ``--folds 0 --folds 1``.

    Values are whatever reads as a fold; a file of that name is given as ``./0``.

    Example:
        >>> one_fold_an_option(["model", "--folds", "0", "1", "all", "bundle"])
        ['model', '--folds', '0', '--folds', '1', '--folds', 'all', 'bundle']
        >>> one_fold_an_option(["--folds=0,1", "--", "2"])
        ['--folds', '0', '--folds', '1', '--', '2']
    """
    result: list[str] = []
    pending = list(args)
    while pending and pending[0] != "--":
        word = pending.pop(0)
        if word.startswith(f"{_FOLDS}="):
            word, pending = _FOLDS, [word.removeprefix(f"{_FOLDS}="), *pending]
        if word != _FOLDS:
            result.append(word)
            continue
        folds = [pending.pop(0)] if pending else []
        while pending and _reads_as_folds(pending[0]):
            folds.append(pending.pop(0))
        named = [fold for part in folds for fold in part.split(",") if fold]
        result += [part for fold in named for part in (_FOLDS, fold)] or [_FOLDS]
    return result + pending


def _reads_as_folds(word: str) -> bool:
    return all(fold.isdecimal() or fold == "all" for fold in word.split(","))


def _many_folds(command: Callable[..., None]) -> Callable[..., None]:
    """Tell the command line which class parses the command."""
    command.__dict__["command_class"] = ManyFolds
    return command


Folds = Annotated[
    list[str] | None,
    typer.Option(
        _FOLDS,
        metavar="FOLD...",
        help="Folds to take, such as 0 1 2 or all.",
        show_default="every numbered fold; all, where there is none",
    ),
]
ModelFolders = Annotated[
    list[Path],
    typer.Argument(
        help="What nnUNetv2_train wrote: the folder with plans.json and fold_0. Several make an ensemble."
    ),
]
PreviousStage = Annotated[
    Path | None,
    typer.Option(
        help="Model folder of a cascade's first stage.", show_default="the one where nnU-Net puts it"
    ),
]
Postprocessing = Annotated[
    Path | None,
    typer.Option(
        help="nnU-Net's postprocessing.pkl or postprocessing.json, applied to every mask.",
        show_default="none, as nnUNetv2_predict",
    ),
]


class VariantName(StrEnum):
    """Reduced precisions."""

    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


CalibrationImages = Annotated[
    list[Path] | None,
    typer.Option(
        "--calibration-images",
        metavar="FOLDER",
        help="Images on which a reduced precision must agree with float32, named as nnU-Net names them; "
        "repeatable. Take images that the model was not trained on.",
    ),
]
CalibrationLabels = Annotated[
    Path | None,
    typer.Option(
        "--calibration-labels",
        metavar="FOLDER",
        help="Reference labels of these images: then Dice against them is what must not drop.",
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Keep a reduced precision that failed; it is used on demand alone, with a warning."
    ),
]


@_many_folds
def export_command(
    model_folder: ModelFolders,
    bundle: Annotated[Path, typer.Argument(help="The bundle to write: a folder, or an archive named *.zip.")],
    *,
    previous_stage: PreviousStage = None,
    postprocessing: Postprocessing = None,
    folds: Folds = None,
    checkpoint: Annotated[str, typer.Option(help="Checkpoint file of each fold.")] = "checkpoint_final.pth",
    name: Annotated[str | None, typer.Option(help="The model's name.", show_default="the bundle's")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing bundle.")] = False,
    variant: Annotated[
        list[VariantName] | None,
        typer.Option(help="Also prove and add a reduced precision, see `nnunet-losses variant`; repeatable."),
    ] = None,
    calibration_images: CalibrationImages = None,
    calibration_labels: CalibrationLabels = None,
    force: Force = False,
    triton: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Also write a Triton model repository of the networks.", file_okay=False
        ),
    ] = None,
) -> None:
    """Export a trained nnU-Net model to a bundle that runs without PyTorch and without nnU-Net.

    Several model folders make an ensemble, as nnUNetv2_ensemble does. A cascade takes its first stage along.

    Loading a checkpoint runs code that it may contain: only export checkpoints that you trust.
    What cannot be carried over faithfully is refused by name. Prove the result with: nnunet-losses verify.
    """
    _require_extra()
    if bool(variant) != bool(calibration_images):
        leave("--variant and --calibration-images go together: a reduced precision is kept by proof.")
    from .bundle_writer import export_bundle
    from .console import steps
    from .errors import ExportError

    try:
        with steps() as progress:
            written = export_bundle(
                model_folder,
                bundle,
                previous_stage=previous_stage,
                postprocessing=postprocessing,
                folds=folds,
                checkpoint=checkpoint,
                name=name,
                overwrite=overwrite,
                progress=progress,
            )
    except ExportError as error:
        leave(str(error), error.exit_code)
    typer.echo(written)
    for reduced in variant or ():
        _add_variant(written, reduced, calibration_images or [], calibration_labels, force=force)
    if triton is not None:
        from .triton_command import write_repository

        write_repository(written, triton)


def variant_command(
    bundle: Annotated[Path, typer.Argument(help="What nnunet-losses export wrote: a folder or an archive.")],
    precision: Annotated[VariantName, typer.Argument(help="The reduced precision.")],
    *,
    calibration_images: CalibrationImages = None,
    calibration_labels: CalibrationLabels = None,
    force: Force = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the network.", show_default="all cores")
    ] = None,
) -> None:
    """Let a bundle run in a reduced precision, if that does no harm on your images.

    Every image is segmented in float32 and in the reduced precision. A label that loses more than 0.001 of
    its mean Dice, or agrees too little with float32, refuses the variant. The evidence goes into the bundle;
    from then on predictions use the fastest proven precision that the machine has. Needs neither PyTorch nor
    nnU-Net. Exits with 1 where the variant is refused, with 2 otherwise on errors.
    """
    _require_extra(_NEEDED_BY_VARIANTS)
    if not calibration_images:
        leave("Name images with --calibration-images FOLDER: a reduced precision is kept by proof.")
    _add_variant(bundle, precision, calibration_images, calibration_labels, force=force, threads=threads)


def _add_variant(
    bundle: Path,
    name: VariantName,
    images: list[Path],
    labels: Path | None,
    *,
    force: bool,
    threads: int | None = None,
) -> None:
    from nnunet_losses.serve.errors import Refusal
    from nnunet_losses.serve.exit_codes import exit_code_of

    from .console import print_variant, steps
    from .errors import ExportError, VariantRefused
    from .variants import PRECISIONS, add_variant

    try:
        with steps() as progress:
            made = add_variant(
                bundle,
                PRECISIONS[name.value],
                images,
                labels=labels,
                force=force,
                threads=threads,
                progress=progress,
            )
    except VariantRefused as refused:
        print_variant(refused.variant)
        leave(str(refused), refused.exit_code)
    except ExportError as error:
        leave(str(error), error.exit_code)
    except Refusal as refusal:
        leave(str(refusal), exit_code_of(refusal))
    print_variant(made)


@_many_folds
def verify_command(
    bundle: Annotated[Path, typer.Argument(help="What nnunet-losses export wrote: a folder or an archive.")],
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL_FOLDER... IMAGES...",
            help="All model folders that it was exported from, then folders or files named as nnU-Net names "
            "them: CASE_0000.nii.gz.",
        ),
    ],
    *,
    previous_stage: PreviousStage = None,
    postprocessing: Postprocessing = None,
    folds: Folds = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Checkpoint file of each fold.", show_default="the exported one")
    ] = None,
    backend: BackendOption = BackendName.AUTO,
    precision: Annotated[
        PrecisionName, typer.Option(help="Of the network; a report of a reduced one is not stored.")
    ] = PrecisionName.FLOAT32,
    no_write: Annotated[
        bool, typer.Option("--no-write", help="Do not store the report in the bundle.")
    ] = False,
) -> None:
    """Compare a bundle with nnU-Net's own predictor on the CPU: preprocessing, tiles and masks.

    Loading a checkpoint runs code that it may contain: only verify against checkpoints that you trust.
    The report goes into the bundle. Exits with 1 where the two do not agree, with 2 otherwise on errors.
    """
    _require_extra()
    from nnunet_losses.serve.errors import Refusal
    from nnunet_losses.serve.exit_codes import exit_code_of

    from .console import case_progress, print_verification
    from .errors import ExportError
    from .verify import verify_bundle

    model_folders, images = model_folders_and_images(paths)
    try:
        with case_progress() as progress:
            verification = verify_bundle(
                bundle,
                model_folders,
                images,
                previous_stage=previous_stage,
                postprocessing=postprocessing,
                folds=folds,
                checkpoint=checkpoint,
                backend=backend.value,
                precision=precision.value,
                write=not no_write,
                progress=progress,
            )
    except ExportError as error:
        leave(str(error), error.exit_code)
    except Refusal as refusal:
        leave(str(refusal), ExitCode.FAILED if refusal.code.value in _DAMAGED else exit_code_of(refusal))
    print_verification(verification)
    raise typer.Exit(ExitCode.DONE if verification.parity.passed else ExitCode.FAILED)


def model_folders_and_images(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Tell model folders, which hold plans.json, from images; the first path is always a model folder."""
    count = 1
    while count < len(paths) and (paths[count] / "plans.json").is_file():
        count += 1
    if count == len(paths):
        leave("Name images after the model folders: folders or files such as CASE_0000.nii.gz.")
    return list(paths[:count]), list(paths[count:])


def _require_extra(needed: Sequence[str] = _NEEDED) -> None:
    """Say at once what is not installed, in the words of a command that mends it."""
    from importlib.util import find_spec

    from nnunet_losses.extras import install_command

    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        leave(f"This needs {', '.join(missing)}. Install it with: {install_command('export', 'cpu')}")
