"""The page's files: what is served, under which policy, and that the viewer is the published one."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from nnunet_losses.serve.http.routes.page import page_files
from nnunet_losses.serve.outputs.kinds import OutputKind

from ...conftest import ROOT
from .server import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "serve" / "http" / "page"
OURS = sorted(path for path in FOLDER.iterdir() if path.suffix in {".js", ".html", ".css", ".svg"})
# dist/niivue.umd.js of the npm package @niivue/niivue 0.69.0
NIIVUE = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        yield client


def test_the_viewer_is_the_published_file() -> None:
    recorded = (FOLDER / "vendor" / "SHA256SUMS").read_text()
    assert recorded == f"{NIIVUE}  niivue.umd.js\n"
    assert hashlib.sha256((FOLDER / "vendor" / "niivue.umd.js").read_bytes()).hexdigest() == NIIVUE
    licence = (FOLDER / "vendor" / "niivue.LICENSE.txt").read_text()
    assert "Copyright (c) 2021, Niivue" in licence
    assert "0.69.0" in licence


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_nothing_inline_and_nothing_from_elsewhere(path: object) -> None:
    text = path.read_text()  # type: ignore[attr-defined]
    assert (
        re.findall(r"\b(eval|Function)\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text) == []
    )
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", text)) - {
        "http://www.w3.org/2000/svg",
        "https://jfly.uni-koeln.de/color/",
    }
    assert addresses == set()
    if path.suffix == ".html":  # type: ignore[attr-defined]
        assert re.findall(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=|<style", text) == []


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_files_are_small(path: object) -> None:
    assert len(path.read_text().splitlines()) < 270  # type: ignore[attr-defined]


def test_every_file_is_served_with_its_type(client: httpx.Client) -> None:
    for name, content in page_files().items():
        reply = client.get(f"/ui/{name}")
        assert (reply.status_code, reply.content) == (200, content), name
        assert reply.headers["content-type"].startswith(("text/", "image/svg"))
        assert client.get(f"/ui/{name}", headers={"If-None-Match": reply.headers["etag"]}).status_code == 304


def test_the_policy_allows_only_our_own_scripts(client: httpx.Client) -> None:
    policy = client.get("/ui/").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] in {"'self'", "'none'"}
    assert rules["script-src"] == "'self'"
    assert "unsafe-eval" not in policy


def test_the_bare_addresses_lead_to_the_page(client: httpx.Client) -> None:
    for path in ("/", "/ui"):
        assert str(client.get(path, follow_redirects=True).url).endswith("/ui/")


@pytest.mark.parametrize("name", ["nothing.js", "../app.py", "..%2fapp.py", "vendor/SHA256SUMS", "vendor"])
def test_nothing_else_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/ui/{name}").status_code in {404, 500}


def test_all_outputs_can_be_asked_for() -> None:
    known = (FOLDER / "outputs.js").read_text()
    lists = " ".join(re.findall(r"const OF_\w+ = \[(.*?)\]", known))
    offered = set(re.findall(r'"(\w+)"', lists))
    assert offered == {kind.value for kind in OutputKind} - {"mask"}
