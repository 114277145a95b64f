"""Each malformed file gets its code from a running service, which lives on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.http.problems import PROBLEM_TYPES

from ..serve.dicom.series import CANARY, phantom, write_series, zipped
from .malformed import CORPUS

if TYPE_CHECKING:
    from pathlib import Path

    from ..serve.http.real import Server

SENT = {name: entry for name, entry in CORPUS.items() if entry.can_be_sent and not entry.is_picture}


def test_the_service_answers_all_with_their_codes_and_lives_on(server: Server, tmp_path: Path) -> None:
    before = server.process.pid
    wrong = {}
    for number, (name, entry) in enumerate(SENT.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = entry.make(folder)
        response = server.segment(file.read_bytes(), f"{CANARY}{''.join(file.suffixes)}")
        found = (response.status_code, response.json().get("code"))
        if found != (PROBLEM_TYPES[entry.code].status, entry.code.value):
            wrong[name] = found
        assert CANARY not in response.text
    assert wrong == {}
    assert server.process.poll() is None
    assert server.process.pid == before
    assert server.client.get("/v2/health/ready").status_code == 200
    assert server.segment(server.image.read_bytes()).status_code == 200
    assert CANARY not in (server.folder / "log.jsonl").read_text()


def test_a_whole_series_is_segmented(server: Server, tmp_path: Path) -> None:
    file = zipped(write_series(tmp_path / "series", phantom((9, 18, 20)).datasets()), tmp_path / "a.zip")
    response = server.segment(file.read_bytes(), "a.zip", headers={"Accept": "application/json"})
    assert response.status_code == 200, response.text
    codes = {warning["code"] for warning in response.json()["warnings"]}
    assert "series.orientation_assumed" in codes
    assert CANARY not in response.text
    assert CANARY not in (server.folder / "log.jsonl").read_text()


@pytest.mark.parametrize("suffix", ["", ".bin"])
def test_a_series_without_a_known_ending_is_told_by_its_first_bytes(
    server: Server, tmp_path: Path, suffix: str
) -> None:
    file = zipped(write_series(tmp_path / "series", phantom((9, 18, 20)).datasets()), tmp_path / "a.zip")
    response = server.segment(file.read_bytes(), f"a{suffix}", headers={"Accept": "application/json"})
    assert response.status_code == 200, response.text
