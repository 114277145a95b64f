"""A real Chromium, headless, and a service for it."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from ...conftest import require
from . import images
from .driver import Driver
from .fake_service import FakeService
from .server import PATIENCE, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = (
    os.environ.get("NNUNET_LOSSES_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
)
# drawing without a GPU on a busy machine is slow, which Chromium's watchdog takes for a hang, and ends
PATIENT = ("--disable-gpu-watchdog",)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; a page in it is a matter of a tenth of a second.

    Not for the whole session: while Playwright is up its event loop counts as running, and a second one, of
    a module that imports this fixture, could not start.
    """
    require(CHROMIUM, "chromium is not installed")
    require(find_spec("playwright"), "playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *PATIENT], timeout=1000 * PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    with running(service.app()) as address:
        yield address


@pytest.fixture
def driver(chromium: Any, url: str) -> Iterator[Driver]:
    """A page that fails the test if it wrote an error or asked another host."""
    with Driver.opened(chromium, url) as opened:
        yield opened


@pytest.fixture
def volume(tmp_path: Path) -> str:
    (path,) = images.write(tmp_path, Doe_John__nii=images.volume())
    return path


@pytest.fixture
def picture(tmp_path: Path) -> str:
    (path,) = images.write(tmp_path, picture__png=images.picture())
    return path
