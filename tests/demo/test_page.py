from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tools.demo.console import Narrator
from tools.demo.page import render
from tools.demo.story import summary

from . import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tools.demo.story import Findings


class Page(HTMLParser):
    """Collects what a page shows and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in {"src", "href", "data"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page(findings: Findings, folder: Path) -> Page:
    commands = [f"nnunet-losses phantom {folder}/raw"]
    return Page(render(findings, samples.plan(folder), commands, seconds=75))


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    shown = page(samples.findings(), tmp_path)
    assert shown.open == []
    assert len(shown.sources) == 2 * (2 + len(samples.MODELS))
    assert all(source.startswith("data:image/png;base64,") for source in shown.sources)


def test_the_page_says_what_came_back(tmp_path: Path) -> None:
    words = page(samples.findings(), tmp_path).words
    for expected in (*samples.MODELS, "1 lesion, 40 pixels", "NO_VOXEL_ABOVE_THRESHOLD", "input.truncated",
                     "The file <b>ends</b> too early.", "14 of 14 expectations met, in 1 min 15 s",
                     "0.889", "1 of 2", f"nnunet-losses phantom {tmp_path.name}/raw"):  # fmt: skip
        assert expected in words
    assert str(tmp_path) not in words  # where the folder lies is nobody's business


def test_an_unmet_expectation_is_seen_at_once(tmp_path: Path) -> None:
    findings = samples.findings()
    findings.models[0] = samples.model(samples.MODELS[0], parity=samples.parity(passed=False))
    words = page(findings, tmp_path).words
    assert "13 of 14 expectations met" in words
    assert "✗ not met" in words
    assert "BROKEN" in words


def test_volumes_are_shown_by_a_slice(tmp_path: Path) -> None:
    findings = samples.findings()
    findings.answered[:] = [samples.sent(40, 50, (4, 20, 24))]
    assert len(page(findings, tmp_path).sources) == 2 + len(samples.MODELS)


def test_a_case_without_an_answer_is_shown_too(tmp_path: Path) -> None:
    findings = samples.findings()
    case = samples.sent(40, 50)
    replies = dict.fromkeys(samples.MODELS, samples.refusal(500))
    findings.answered[:] = [replace(case, masks={}, same_bytes={}, replies=replies)]
    assert "HTTP 500" in page(findings, tmp_path).words


@pytest.mark.parametrize("width", [60, 200])
def test_the_console_says_it_too(tmp_path: Path, width: int) -> None:
    stream = StringIO()
    console = Console(file=stream, width=width)
    Narrator(console).report(samples.findings(), tmp_path / "overview.html")
    for expected in ("Segmented", "Empty", "Refused", "input.truncated", "14 of 14 expectations met"):
        assert expected in stream.getvalue()


def test_the_summary_is_for_machines() -> None:
    content = summary(samples.findings())
    assert len(content["expectations"]) == 14
    assert content["models"][samples.MODELS[0]]["parity"]["passed"] is True
    assert content["replies"]["truncated.png"][samples.MODELS[0]]["status"] == 400
