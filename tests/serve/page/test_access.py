"""The page for everybody: by keyboard, on a phone, with other colours, for those who listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from . import images
from .driver import Driver, script

if TYPE_CHECKING:
    from pathlib import Path

    from .fake_service import FakeService


def answered(driver: Driver, folder: Path) -> None:
    driver.choose(*images.write(folder, image__nii=images.volume()))
    driver.send()
    driver.headline()
    driver.viewer()


def test_by_keyboard_alone(service: FakeService, driver: Driver, tmp_path: Path) -> None:
    service.files = {"mask": ("mask.nii", "application/octet-stream", images.mask())}
    (path,) = images.write(tmp_path, image__nii=images.volume())
    page = driver.page
    page.on("filechooser", lambda chooser: chooser.set_files(path))  # early: it takes effect after a while
    page.locator(".slot").wait_for()
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
        if seen[-1] == "file-0":
            with page.expect_event("filechooser"):
                page.keyboard.press("Enter")
            page.locator(".slot.filled").first.wait_for()
        if seen[-1] == "send":
            break
    assert seen[:3] == ["Skip to the form", "model", "file-0"]
    assert seen[-1] == "send"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert driver.headline().startswith("Found")
    assert page.evaluate("document.activeElement.id") == "headline"
    driver.viewer()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"
    before = page.locator("#viewer-note").inner_text()
    page.keyboard.press("PageUp")
    page.wait_for_function("told => document.getElementById('viewer-note').innerText !== told", arg=before)


def test_what_happens_is_announced(service: FakeService, driver: Driver, tmp_path: Path) -> None:
    service.starts_when = lambda: bool(service.heard)
    driver.page.evaluate(script("hear"))
    answered(driver, tmp_path)
    heard = driver.page.evaluate("window.heard")
    assert {"Sending", "Segmenting", "Found: Anterior and Posterior"} <= set(heard)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(chromium: Any, url: str, service: FakeService, tmp_path: Path, scheme: str) -> None:
    service.files = {"mask": ("mask.nii", "application/octet-stream", images.mask())}
    # without motion: colours on their way to others are nobody's choice
    with Driver.opened(chromium, url, color_scheme=scheme, reduced_motion="reduce") as driver:
        driver.page.locator(".slot").wait_for()
        assert driver.page.evaluate(script("contrast")) == []
        answered(driver, tmp_path)
        driver.page.mouse.move(0, 0)
        assert driver.page.evaluate(script("contrast")) == []
        assert driver.page.evaluate(script("unnamed")) == []


def test_it_fits_on_a_phone(chromium: Any, url: str, service: FakeService, tmp_path: Path) -> None:
    service.files = {"mask": ("mask.nii", "application/octet-stream", images.mask())}
    with Driver.opened(chromium, url) as driver:
        driver.page.set_viewport_size({"width": 360, "height": 740})
        answered(driver, tmp_path)
        assert driver.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_labels_differ_in_more_than_colour(chromium: Any, url: str) -> None:
    with Driver.opened(chromium, url) as driver:
        seen = driver.page.evaluate(script("swatches"))
        assert len(set(seen)) == 49
