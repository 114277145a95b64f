"""``nnunet-losses serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_EXTRA = {"fastapi", "starlette", "uvicorn", "pydantic_settings", "python_multipart", "anyio"}
_INSTALL = 'pip install "nnunet-losses[serve,cpu]"'


def serve_command(
    bundles: Annotated[list[Path], typer.Argument(help="What `nnunet-losses export` wrote: folders or zip files.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    backend: Annotated[str, typer.Option(help="auto, cpu, cuda or openvino.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads of the network; default: all cores.")] = None,
    max_body_mb: Annotated[int, typer.Option(help="Largest request, in MiB.")] = 1024,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Listen where others can reach it.")] = False,
) -> None:
    """Serve bundles over HTTP."""
    options = {"host": host, "port": port, "backend": backend, "threads": threads, "allow_remote": allow_remote}
    try:
        from .server import run
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in _EXTRA:
            raise
        _stop(f"The service is not installed ({error.name} is missing). Install it with: {_INSTALL}")
    run(bundles=bundles, max_body_bytes=max_body_mb * 1024**2, **options)
