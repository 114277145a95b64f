"""A server in a thread with real worker processes, and a PostgreSQL."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from ...conftest import require
from ..jobs.postgresql import create_schema, find_programs, running_server
from .helpers import Client, in_thread, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nnunet_losses.serve.workers.supervisor import Supervisor

_numbers = count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[tuple[Client, Supervisor]]:
    """A ready server of one worker process."""
    with in_thread(settings_for(folder, allow_reload=True), folder / "signs") as both:
        yield both


@pytest.fixture
def client(served: tuple[Client, Supervisor]) -> Client:
    served[0].wait_until_ready()
    return served[0]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    programs = find_programs()
    require(programs, "PostgreSQL (initdb) is not installed")
    assert programs is not None
    with running_server(programs) as url:
        yield url


@pytest.fixture
def schema(postgresql: str) -> str:
    """The URL of a PostgreSQL schema without tables."""
    return create_schema(postgresql, f"service_{next(_numbers)}")
