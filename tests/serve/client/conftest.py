"""A service that the test can break, and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.client import Client

from ..page import images
from ..page.fake_service import FakeService
from ..page.server import PATIENCE, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def service() -> FakeService:
    service = FakeService()
    service.files = {"mask": ("mask.nii", "application/octet-stream", images.mask())}
    return service


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with running(service.app()) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url, patience=PATIENCE, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "Doe_John_0000.nii"
    path.write_bytes(images.volume())
    return path
