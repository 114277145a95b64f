"""The multipart/mixed reply, read back by the standard library."""

from __future__ import annotations

import random
from email import message_from_bytes
from email.policy import HTTP

import pytest

from nnunet_losses.serve.http.multipart import MultipartReply, Part
from nnunet_losses.serve.media import media_type

NASTY = [b"", b"\r\n", b"--", b"\r\n--x--\r\n", bytes(range(256)), b"a" * 100_000, b"ends with\r\n"]


@pytest.mark.parametrize("content", [*NASTY, *(random.Random(seed).randbytes(5000) for seed in range(20))])
def test_bytes_come_back_unchanged(content: bytes) -> None:
    reply = MultipartReply(
        Part("a", "a.bin", "application/octet-stream", content), Part("b", "b", "text/x", b"end")
    )
    head = f"Content-Type: {reply.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + reply.body, policy=HTTP)
    parts = list(message.iter_parts())
    assert [part.get_payload(decode=True) for part in parts] == [content, b"end"]
    assert [int(part["Content-Length"]) for part in parts] == [len(content), 3]
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_every_reply_has_its_own_boundary() -> None:
    assert len({MultipartReply().headers["content-type"] for _ in range(10)}) == 10


@pytest.mark.parametrize("name", ["mask.NII.GZ", "mask.nii.gz"])
def test_media_types_do_not_depend_on_case(name: str) -> None:
    assert media_type(name) == "application/gzip"
