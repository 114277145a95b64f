"""The server process: settings to a listening socket, what it says to the operator, and how it ends."""

from __future__ import annotations

import shlex
import signal
import socket
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import typer
import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from nnunet_losses.extras import install_command
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.ray.environment import prepare_environment
from nnunet_losses.serve.workers.plan import served
from nnunet_losses.serve.workers.reports import version_of

from .app import create_app
from .archive_settings import ArchivesUnusable, check_archives
from .channels import curl_parts
from .data_folder import default_data_folder
from .draining import DrainingServer
from .logs import logging_configuration
from .protocol import HEAD_LIMIT, patient_protocol
from .security.startup import Unsafe, check_startup
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from nnunet_losses.serve.schema import ModelDescription

_RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


class Unservable(Exception):  # noqa: N818 - the operator's input, not a fault
    """Why the server does not start, for the operator."""


def serve(options: Mapping[str, Any], *, on_ray: bool = False) -> None:
    """Serve until a signal ends the process; requests in flight are answered first.

    Args:
        options: of ``Settings``; what is missing comes from the environment.
        on_ray: whether Ray runs it.

    Raises:
        Unservable: an option, a bundle or the address cannot be used.
    """
    settings = _settings(options)
    warnings = (*_check_security(settings), *_check_archives(settings))
    descriptions = [_describe(path) for path in settings.bundles]
    _require_different_names(
        [
            _key(model.name, bundle.label)
            for model, bundle in zip(descriptions, served(settings.bundles), strict=True)
        ]
    )
    listener = _listen(settings)
    for warning in warnings:
        typer.echo(warning, err=True)
    if on_ray:
        listener.close()  # Ray's proxy opens another one
        _serve_on_ray(settings, descriptions)
        return
    _announce(settings, _url(settings, listener), descriptions)
    server = DrainingServer(_configuration(settings))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # after uvicorn's own: ends cleanly, removing files
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # Ctrl+C, after everything has ended
        typer.echo("Stopped.")


def _settings(options: Mapping[str, Any]) -> Settings:
    try:
        settings = Settings(**options)
    except ValidationError as error:
        reasons = [_reason(item) for item in error.errors()]
        raise Unservable("; ".join(reason.replace("Value error, ", "") for reason in reasons)) from error
    except SettingsError as error:  # a traceback would show the variable's value
        raise Unservable(f"{str(error).replace(chr(10), ' ')}. Its variable must hold JSON") from None
    if not settings.bundles:
        raise Unservable("there is nothing to serve. Name a bundle: nnunet-losses serve BUNDLE")
    return settings.model_copy(
        update={"data_folder": settings.data_folder or default_data_folder(settings.port)}
    )


def _reason(item: ErrorDetails) -> str:
    """Name the setting; its value only where that is a number, as others may be secrets."""
    number = item["type"] in _RANGES
    value = f" is {item['input']}:" if number else ""
    return f"{'.'.join(map(str, item['loc']))}{value} {item['msg']}".strip()


def _check_security(settings: Settings) -> tuple[str, ...]:
    try:
        return check_startup(settings)
    except Unsafe as error:
        raise Unservable(str(error)) from error


def _check_archives(settings: Settings) -> tuple[str, ...]:
    try:
        return check_archives(settings)
    except ArchivesUnusable as error:
        raise Unservable(str(error)) from error


def _describe(path: Path) -> ModelDescription:
    """Read a bundle's description before anything starts; its files are verified in the background."""
    try:
        return Bundle.load(path, verify=False).description
    except Refusal as refusal:
        raise Unservable(f"{path.resolve().name} is not served ({refusal.code}): {refusal}") from refusal


def _key(name: str, label: str) -> str:
    version = version_of(label)
    return name if version is None else f"{name}@{version}"


def _require_different_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Unservable(
            f"two bundles are called {', '.join(twice)}, and a request names its model. "
            "Export one of them again with another --name, or call the files NAME@1 and NAME@2 to serve both."
        )


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise Unservable(
            f"{settings.host} port {settings.port} cannot be used: {error.strerror}. "
            "Choose another one with --port (0 takes a free one)."
        ) from error


def _serve_on_ray(settings: Settings, models: Sequence[ModelDescription]) -> None:
    if find_spec("ray") is None:
        raise Unservable(f"--ray needs Ray. Install it with: {install_command('ray')}")
    prepare_environment()
    from nnunet_losses.serve.ray.application import run  # noqa: PLC0415 - reads the environment

    run(settings, started=lambda url: _announce(settings, url, models))


def _url(settings: Settings, listener: socket.socket) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _announce(settings: Settings, url: str, models: Sequence[ModelDescription]) -> None:
    typer.echo(f"Listening on {url} (Ctrl+C stops). {url}/v2/health/ready says when the models are tested.")
    typer.echo(_where_jobs_lie(settings))
    for model in models:
        chosen = f" -F {shlex.quote(f'model={model.name}')}" if len(models) > 1 else ""
        chosen += ' -H "Authorization: Bearer $KEY"' if settings.is_authenticated else ""
        typer.echo(
            f"{model.name}: curl{chosen} {curl_parts(model)} --output reply.multipart {url}/v1/segment"
        )


def _where_jobs_lie(settings: Settings) -> str:
    if settings.data_folder is None:
        return "Jobs are forgotten when the server stops; --data-folder keeps them."
    return f"Jobs and their files are kept in {settings.data_folder} for {settings.job_retention / 3600:g} h."


def _configuration(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        http=patient_protocol(settings),
        h11_max_incomplete_event_size=HEAD_LIMIT,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        log_config=logging_configuration(),
        access_log=False,
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_timeout,
    )
