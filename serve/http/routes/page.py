"""The page at /ui/: files of the package, and nothing else."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotation
from starlette.responses import RedirectResponse, Response

from ..problems import ServiceCode, ServiceProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

router = APIRouter(include_in_schema=False)

INDEX = "index.html"
MEDIA_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "html": "text/html; charset=utf-8",
        "css": "text/css; charset=utf-8",
        "js": "text/javascript; charset=utf-8",
        "svg": "image/svg+xml",
        "txt": "text/plain; charset=utf-8",
    }
)


def page_files() -> dict[str, bytes]:
    """Every file that the page is made of, by its path under /ui/.

    Example:
        >>> sorted(name for name in page_files() if name.endswith(".html"))
        ['index.html']
    """
    folder = files("nnunet_losses.serve.http") / "page"
    return {name: file.read_bytes() for name, file in _walk(folder) if _ending(name) in MEDIA_TYPES}


def _walk(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


_FILES = page_files()
_TAGS = {name: f'"{sha256(content).hexdigest()[:32]}"' for name, content in _FILES.items()}


@router.get("/")
async def root() -> Response:
    """Lead people who enter the bare address to the page."""
    return RedirectResponse("ui/")


@router.get("/ui")
async def without_slash() -> Response:
    """Relative addresses in the page need the slash."""
    return RedirectResponse("ui/")


@router.get("/ui/{name:path}")
async def page_file(name: str, request: Request) -> Response:
    """One of the page's files; 304 for a browser that has it."""
    name = name or INDEX
    if name not in _FILES:
        raise ServiceProblem(
            ServiceCode.REQUEST_NOT_FOUND, "The page has no such file.", remedy="The page itself is at /ui/."
        )
    headers = {"ETag": _TAGS[name], "Cache-Control": "no-cache"}  # asked again, so that an update arrives
    if request.headers.get("if-none-match") == _TAGS[name]:
        return Response(status_code=304, headers=headers)
    return Response(_FILES[name], headers=headers, media_type=MEDIA_TYPES[_ending(name)])
