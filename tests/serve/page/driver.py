"""Drives the page as a person would, and watches what it should not do."""

from __future__ import annotations

import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from .server import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


# the first labels' colours
ORANGE, SKY = np.array([230, 159, 0]), np.array([86, 180, 233])
SEEN = 0.005  # share of the screen that a structure takes at least
LIT = 0.05  # share of the screen that an image takes at least


def share(pixels: np.ndarray, colour: np.ndarray) -> float:
    """Share of an image's pixels whose hue is the colour's, black apart, whatever lies below."""
    values = pixels.reshape(-1, 3).astype(float)
    length = np.linalg.norm(values, axis=1)
    cosine = values @ colour / np.maximum(length, 1) / np.linalg.norm(colour)
    return float(np.mean((cosine > 0.985) & (length > 90)))


def script(name: str) -> str:
    """JavaScript to be run in the page."""
    return (Path(__file__).parent / "scripts" / f"{name}.js").read_text()


class Driver:
    """One open page."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.set_default_timeout(1000 * PATIENCE)  # a busy machine draws slowly, without a GPU

    @classmethod
    @contextmanager
    def opened(cls, browser: Any, url: str, *, script: str | None = None, **options: Any) -> Iterator[Driver]:
        context = browser.new_context(viewport={"width": 800, "height": 560}, **options)
        if script:
            context.add_init_script(script)
        driver = cls(context.new_page(), url)
        try:
            driver.page.goto(f"{url}/ui/")
            yield driver
            driver.check_manners()
        finally:
            context.close()

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.type}: {message.text}")

    def check_manners(self) -> None:
        """Nothing in the console, no other host. A failed answer of the service is not the page's fault."""
        harmless = ("Failed to load resource", "GPU stall", "willReadFrequently")  # readbacks are the test's
        unexpected = [text for text in self.errors if not any(part in text for part in harmless)]
        assert not unexpected, unexpected
        assert self.hosts - {""} == {urlsplit(self.url).netloc}, self.hosts

    def choose(self, *files: str, part: str | None = None) -> None:
        slot = f'.slot[data-part="{part}"]' if part else ".slot"
        self.page.locator(f"{slot} input[type=file]").first.set_input_files(list(files))

    def send(self) -> None:
        self.page.get_by_role("button", name="Segment").click()

    def headline(self) -> str:
        """Wait for the answer; its headline."""
        self.page.locator("#result").wait_for(state="visible")
        return str(self.page.locator("#headline").inner_text())

    def statement(self) -> str:
        return str(self.page.locator("#statement").inner_text())

    def viewer(self) -> str:
        """Wait until something is shown; the kind of viewer."""
        self.page.locator("#viewer[data-kind]").wait_for()
        return str(self.page.locator("#viewer").get_attribute("data-kind"))

    def pixels(self, selector: str = "#screen canvas") -> np.ndarray:
        """What is seen of an element: (height, width, 3)."""
        return np.asarray(Image.open(BytesIO(self.page.locator(selector).screenshot())).convert("RGB"))

    def see(self, *colours: np.ndarray, without: Sequence[np.ndarray] = (), trace: float = 0.0) -> None:
        """Wait until some colours are seen, and of others at most a trace, as a share of the screen."""
        self._wait_for_pixels(
            lambda seen: (
                all(share(seen, colour) > SEEN for colour in colours)
                and all(share(seen, colour) <= trace for colour in without)
            )
        )

    def see_image(self) -> None:
        """Wait until anything but the black background is seen."""
        self._wait_for_pixels(lambda seen: bool(np.mean(seen.max(axis=-1) > 60) > LIT))

    def _wait_for_pixels(self, condition: Callable[[np.ndarray], bool]) -> None:
        """The viewer draws when the browser lets it."""
        end = time.monotonic() + PATIENCE
        while not condition(seen := self.pixels()):
            shares = {"orange": share(seen, ORANGE), "sky": share(seen, SKY)}
            assert time.monotonic() < end, f"what was wanted is not seen; shares of the screen: {shares}"
            self.page.wait_for_timeout(50)
