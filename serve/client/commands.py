"""``nnunet-losses send``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnunet_losses.ending import ExitCode, leave

if TYPE_CHECKING:
    from .cases import Case
    from .records import Model
    from .sending import Sending


def send_command(
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE...", help="Files named as in nnU-Net (CASE_0000.nii.gz), or folders."),
    ] = None,
    *,
    server: Annotated[str, typer.Option(help="Address of the server, as http://127.0.0.1:8000.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for masks and answers.", file_okay=False)
    ],
    model: Annotated[str | None, typer.Option(help="Needed where several models are served.")] = None,
    outputs: Annotated[
        str, typer.Option(help="Kinds of further results, with commas between, as nrrd,seg.")
    ] = "",
    channel: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="One case, channel by channel; repeatable.")
    ] = None,
    archive: Annotated[
        str | None, typer.Option(help="Archive of the server that has the series, instead of files.")
    ] = None,
    study: Annotated[str | None, typer.Option(help="StudyInstanceUID in the archive.")] = None,
    series: Annotated[
        list[str] | None,
        typer.Option(metavar="UID", help="SeriesInstanceUID; for several channels NAME=UID, repeated."),
    ] = None,
    push: Annotated[
        str | None, typer.Option(help="Archive of the server that gets the SEG, and what else is DICOM.")
    ] = None,
    empty_seg: Annotated[
        str | None, typer.Option(metavar="[emit|omit]", help="An empty DICOM SEG or RTSTRUCT.")
    ] = None,
    orientation: Annotated[
        str | None, typer.Option(help="How the model's training images lay, as RAS; turns DICOM series.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Policy, as ood=reject; repeatable.")
    ] = None,
    api_key_file: Annotated[
        Path | None, typer.Option(help="File with the API key.", exists=True, dir_okay=False)
    ] = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds for which a server that is busy or away is tried again.")
    ] = 300.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON for programs instead of a table.")
    ] = False,
) -> None:
    """Send images to a server; a mask and an honest answer (CASE.json) for each case.

    A run that was stopped finds its jobs again when it is repeated. The exit codes are those of predict.

    Exit code 0: all cases were answered.

    Exit code 1: some were not; CASE.problem.json says why.

    Exit code 2: the command line is wrong.

    Exit code 3: some images are not what the model was made for; the answer says why.

    Exit code 130: stopped by Ctrl-C; the jobs go on.
    """
    if [bool(inputs), bool(channel), bool(archive)].count(True) != 1:
        raise typer.BadParameter("Name images, or one case by --channel NAME=FILE or in an --archive.")
    if not bool(archive) == bool(study) == bool(series):
        raise typer.BadParameter("--archive, --study and --series belong together.")
    _check_files(inputs or [], channel or [])  # before a server is waited for
    _check_options(option or [], empty_seg)
    try:
        from .client import Client
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "httpx":
            raise
        from nnunet_losses.extras import install_command

        leave(f"sending needs httpx. Install it with: {install_command('client')}")
    from .console import asking, report, send_with_progress
    from .errors import ServiceError
    from .sending import Sending

    key = None if api_key_file is None else api_key_file.read_text(errors="replace").strip()
    try:
        opened = Client(server, api_key=key, patience=patience)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    with opened as client:
        try:
            with asking(server):
                models = client.models()
        except ServiceError as error:
            leave(str(error), ExitCode.FAILED)
        chosen = _choose(models, model)
        if archive and study and series:
            cases = [_series(archive, study, series, chosen)]
        else:
            cases = _cases(inputs or [], channel or [], chosen)
        kinds = tuple(kind.strip() for kind in outputs.split(",") if kind.strip())
        options = dict(_pairs(option or [], "--option"))
        options |= {"empty_seg": empty_seg} if empty_seg else {}
        options |= {"orientation": orientation} if orientation else {}
        sending = Sending(client, chosen, output, kinds, options, push)
        _spare_inputs(cases, sending)
        sent = send_with_progress(sending, cases)
    raise typer.Exit(report(sent, as_json=as_json))


def _choose(models: tuple[Model, ...], name: str | None) -> Model:
    found = [model for model in models if name in {None, model.name}]
    if len(found) != 1:
        names = ", ".join(model.name for model in models)
        raise typer.BadParameter(f"--model: {name or 'no model'} is named. Choose one of: {names}.")
    return found[0]


def _check_files(inputs: list[Path], channels: list[str]) -> None:
    for path in [*inputs, *(Path(file) for _, file in _pairs(channels, "--channel"))]:
        if not path.exists():
            raise typer.BadParameter(f"{path} does not exist.")


def _check_options(options: list[str], empty_seg: str | None) -> None:
    _pairs(options, "--option")
    if empty_seg not in (None, "emit", "omit"):
        raise typer.BadParameter(f"--empty-seg {empty_seg!r} is neither emit nor omit.")


def _cases(inputs: list[Path], channels: list[str], model: Model) -> list[Case]:
    from .cases import find_cases, named_case

    pairs = [(name, Path(file)) for name, file in _pairs(channels, "--channel")]
    try:
        return [named_case(pairs, model, name=None)] if pairs else find_cases(inputs, model)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _series(archive: str, study: str, series: list[str], model: Model) -> Case:
    from .cases import series_case

    try:
        return series_case(archive, study, series, model)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _pairs(texts: list[str], flag: str) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, value) in zip(texts, pairs, strict=True):
        if not name or not value:
            raise typer.BadParameter(f"{flag} {text!r} is not of the form NAME=VALUE.")
    return [(name, value) for name, _, value in pairs]


def _spare_inputs(cases: list[Case], sending: Sending) -> None:
    """Refuse to write a result over an image."""
    images = {path.resolve() for case in cases for path in case.files.values()}
    for case in cases:
        hit = next((path for path in sending.targets(case) if path.resolve() in images), None)
        if hit is not None:
            raise typer.BadParameter(f"--output: {hit} is one of the images. Choose another folder.")
