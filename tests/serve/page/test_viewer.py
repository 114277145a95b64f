"""Image and mask: with WebGL2, without it, and drawn by the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from . import images
from .driver import ORANGE, SKY, Driver, script
from .fake_service import answer

if TYPE_CHECKING:
    from pathlib import Path

    from .fake_service import FakeService

MASK = {"mask": ("mask.nii", "application/octet-stream", images.mask())}
WITHOUT_WEBGL = script("without_webgl")
TRACE = 0.001  # share of the screen that hues of other things may take by chance


def test_the_mask_can_be_faded_out_and_labels_be_shown_alone(
    service: FakeService, driver: Driver, volume: str
) -> None:
    service.files = dict(MASK)
    driver.choose(volume)
    driver.send()
    driver.viewer()
    driver.page.locator("#viewer-tools").get_by_label("Show").select_option("only Posterior")
    driver.see(SKY, without=(ORANGE,), trace=TRACE)
    driver.page.get_by_label("Mask", exact=True).fill("0")
    driver.see(without=(ORANGE, SKY), trace=TRACE)


def test_the_viewer_goes_to_an_unusual_place(service: FakeService, driver: Driver, volume: str) -> None:
    tile = {"voxels": [[2, 10], [10, 18], [4, 12]], "corners_mm": [[-12, -20, 4], [-4, -8, 14]], "z": 9.1}
    service.files = dict(MASK)
    service.answer = answer(distribution={"verdict": "out_of_distribution", "unusual_tiles": [tile]})
    driver.choose(volume)
    driver.send()
    driver.viewer()
    driver.page.get_by_role("button", name="Show", exact=True).click()
    place = "Right–left 8.0, back–front 14.0, foot–head 9.0 mm"
    driver.page.locator("#viewer-note", has_text=place).wait_for()


@pytest.mark.parametrize("kind", ["picture", "volume"])
def test_without_webgl_slices_are_drawn_with_patterns(
    chromium: Any, url: str, service: FakeService, kind: str, request: pytest.FixtureRequest
) -> None:
    content = images.picture_mask() if kind == "picture" else images.mask()
    service.files = {"mask": ("mask.png" if kind == "picture" else "mask.nii", "image/png", content)}
    with Driver.opened(chromium, url, script=WITHOUT_WEBGL) as driver:
        driver.choose(request.getfixturevalue(kind))
        driver.send()
        driver.headline()
        assert driver.viewer() == ("picture" if kind == "picture" else "slices")
        driver.see(*([ORANGE] if kind == "picture" else [ORANGE, SKY]))
        if kind == "volume":
            driver.page.get_by_role("slider", name="Slice").fill("1")
            driver.see(without=(ORANGE,))


def test_a_slice_is_the_right_way_round(chromium: Any, url: str, service: FakeService, volume: str) -> None:
    """As radiologists look at it: the patient's right on the left, the front above."""
    values = np.zeros(images.SHAPE, np.uint8)
    values[30:36, 40:46, 12:20] = 1  # x grows to the right, y to the front
    service.files = {"mask": ("mask.nii", "application/octet-stream", images.nifti(values))}
    with Driver.opened(chromium, url, script=WITHOUT_WEBGL) as driver:
        driver.choose(volume)
        driver.send()
        driver.headline()
        driver.viewer()
        places = driver.page.evaluate(script("places_of_the_first_label"))
    columns, rows = np.array(places).T
    assert (columns.min(), columns.max()) == (40 - 36, 40 - 31)
    assert (rows.min(), rows.max()) == (48 - 46, 48 - 41)


def test_what_the_browser_cannot_draw_the_server_draws(
    chromium: Any, url: str, service: FakeService, tmp_path: Path
) -> None:
    (series,) = images.write(tmp_path, series__zip=b"PK")
    service.files = {**MASK, "png": ("case.overlay.png", "image/png", images.picture())}
    with Driver.opened(chromium, url) as driver:
        driver.choose(series)
        driver.send()
        driver.headline()
        assert driver.viewer() == "server"
        assert (
            driver.page.locator("#screen img").evaluate(
                "image => image.decode().then(() => image.naturalWidth)"
            )
            == 120
        )
    assert service.received[0]["outputs"] == "mask,answer,png"


def test_without_any_picture_there_are_words(
    chromium: Any, url: str, service: FakeService, tmp_path: Path
) -> None:
    (series,) = images.write(tmp_path, series__zip=b"PK")
    service.files = dict(MASK)
    with Driver.opened(chromium, url) as driver:
        driver.choose(series)
        driver.send()
        driver.headline()
        assert driver.viewer() == "words"
        assert "cannot draw the image" in driver.page.locator("#screen").inner_text()
