"""``nnunet-losses serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnunet_losses.ending import leave
from nnunet_losses.serve.commands import ENGINE_HELP, PRECISION_HELP, BackendName, PrecisionName
from nnunet_losses.serve.policies import EmptyPolicy, OodPolicy

_OF_THE_EXTRA = {"anyio", "fastapi", "pydantic_settings", "python_multipart", "starlette", "uvicorn"}


def serve_command(
    bundles: Annotated[
        list[Path] | None, typer.Argument(help="What `nnunet-losses export` wrote: folders or zip files.")
    ] = None,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.", show_default="8000")] = None,
    backend: Annotated[BackendName | None, typer.Option(help=ENGINE_HELP, show_default="auto")] = None,
    precision: Annotated[PrecisionName | None, typer.Option(help=PRECISION_HELP, show_default="auto")] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of the network.", show_default="all cores")
    ] = None,
    max_body_mb: Annotated[
        int | None, typer.Option(help="Largest request, in MiB.", show_default="1024")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            help="cpu or cuda:0; one worker process for each.", show_default="every GPU, or the CPU"
        ),
    ] = None,
    data_folder: Annotated[
        Path | None, typer.Option(help="Where jobs are kept.", show_default="one in your home for each port")
    ] = None,
    dicomweb: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=URL",
            help="Archive (PACS) that requests may name: pacs=https://pacs.example/dicom-web; repeatable.",
        ),
    ] = None,
    dicomweb_credentials: Annotated[
        Path | None,
        typer.Option(help="JSON file with the archives' users and passwords, or tokens.", dir_okay=False),
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="API keys, as `nnunet-losses keys create` writes them.")
    ] = None,
    ood: Annotated[
        OodPolicy | None,
        typer.Option(help="What becomes of images unlike the known ones.", show_default="flag"),
    ] = None,
    empty: Annotated[
        EmptyPolicy | None,
        typer.Option(help="What becomes of answers in which nothing was found.", show_default="flag"),
    ] = None,
    allow_remote: Annotated[
        bool | None,
        typer.Option("--allow-remote", help="Let other machines connect without authentication."),
    ] = None,
    ray: Annotated[
        bool,
        typer.Option("--ray", help="Run on a Ray cluster: the one at RAY_ADDRESS, or one of this machine."),
    ] = False,
) -> None:
    """Serve bundles over HTTP: POST /v1/segment answers with a mask and a statement about it.

    Every option can also be set by a variable, NNUNET_LOSSES_HOST and so on.
    """
    try:
        from .server import Unservable, serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_EXTRA:
            raise
        from nnunet_losses.extras import install_command

        leave(f"The service needs {error.name}. Install it with: {install_command('serve')}")
    options = {
        "bundles": bundles,
        "host": host,
        "port": port,
        "backend": None if backend is None else backend.value,
        "precision": None if precision is None else precision.value,
        "threads": threads,
        "max_body_bytes": None if max_body_mb is None else max_body_mb * 1024**2,
        "devices": None if device is None else tuple(device),
        "data_folder": data_folder,
        "dicomweb": None if dicomweb is None else _addresses(dicomweb),
        "dicomweb_credentials_file": dicomweb_credentials,
        "keys_file": keys_file,
        "ood": ood,
        "empty": empty,
        "allow_remote": allow_remote,
    }
    try:
        serve({name: value for name, value in options.items() if value is not None}, on_ray=ray)
    except Unservable as error:
        leave(str(error))


def _addresses(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, _, url = text.partition("=")
        if not name or not url or name in found:
            raise typer.BadParameter(f"--dicomweb {name!r} is not of the form NAME=URL, or is named twice.")
        found[name] = url
    return found
