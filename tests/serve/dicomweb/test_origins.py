"""Only archives on the list are talked to, at addresses that archives have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.dicomweb import Archive, Budget, Origins
from nnunet_losses.serve.dicomweb.related import boundary_of, split_parts
from nnunet_losses.serve.errors import Code, Refusal

from .conftest import PATIENCE, closed_port

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://pacs.example.org/dicom-web"


def origins(*addresses: str, url: str = URL) -> Origins:
    return Origins((url,), resolve=lambda _host, _port: addresses)


def code(action: object) -> Code:
    with pytest.raises(Refusal) as caught:
        action()
    return caught.value.code


def test_nobody_is_on_the_list_by_default() -> None:
    assert code(lambda: Origins().check(URL)) is Code.DICOMWEB_NOT_ALLOWED


@pytest.mark.parametrize(
    "url",
    [
        "https://pacs.example.org/dicom-web/../admin",
        "https://pacs.example.org:8443/dicom-web",
        "http://pacs.example.org/dicom-web",
        "https://pacs.example.org.evil.example/dicom-web",
        "https://user@pacs.example.org/dicom-web",
        "file:///etc/passwd",
    ],
)
def test_only_what_is_written_there(url: str) -> None:
    assert code(lambda: origins("192.0.2.7").check(url)) is Code.DICOMWEB_NOT_ALLOWED


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "::ffff:127.0.0.1", "224.0.0.1"]
)
def test_names_that_lead_elsewhere(address: str) -> None:
    assert code(lambda: origins("192.0.2.7", address).check(URL)) is Code.DICOMWEB_NOT_ALLOWED


def test_the_checked_address_is_used() -> None:
    place = origins("10.1.2.3").check(URL + "/")
    assert (place.url, place.host) == ("https://10.1.2.3:443/dicom-web", "pacs.example.org")


def test_no_address_and_no_answer(tmp_path: Path) -> None:
    assert code(lambda: origins().check(URL)) is Code.DICOMWEB_UNREACHABLE
    with closed_port() as port:
        url = f"http://127.0.0.1:{port}/dicom-web"
        archive = Archive(url, Origins((url,)), budget=Budget(seconds=PATIENCE))
        assert code(lambda: archive.fetch_series("1.2", "1.3", tmp_path)) is Code.DICOMWEB_UNREACHABLE
    assert code(lambda: archive.fetch_series("1.2/../..", "1.3", tmp_path)) is Code.DICOMWEB_REFUSED


def test_bodies_that_are_cut(tmp_path: Path) -> None:
    whole = b"--x\r\nContent-Type: application/dicom\r\n\r\nAAA\r\n--x\r\n\r\n\r\n\r\nBB\r\n--x--"
    (tmp_path / "body").write_bytes(whole)
    files = split_parts(tmp_path / "body", b"x", tmp_path)
    assert files[0].read_bytes() == b"AAA"
    for end in (3, 40, 44, len(whole) - 4):
        (tmp_path / "body").write_bytes(whole[:end])
        assert code(lambda: split_parts(tmp_path / "body", b"x", tmp_path)) is Code.DICOMWEB_REFUSED
    assert code(lambda: boundary_of("text/html; boundary=x")) is Code.DICOMWEB_REFUSED
    assert code(lambda: boundary_of("multipart/related")) is Code.DICOMWEB_REFUSED
