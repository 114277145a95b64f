"""The reply of ``POST /v1/segment``: multipart/mixed with the answer and the mask (RFC 2046, 5.1.3)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from starlette.responses import Response


@dataclass(frozen=True)
class Part:
    """One body part. The file name is ours: printable ASCII without quotes."""

    name: str
    filename: str
    media_type: str
    content: bytes

    def encode(self) -> bytes:
        r"""Headers, an empty line, the content.

        Example:
            >>> Part("answer", "answer.json", "application/json", b"{}").encode().splitlines()[-1]
            b'{}'
        """
        headers = (
            f"Content-Type: {self.media_type}",
            f'Content-Disposition: attachment; name="{self.name}"; filename="{self.filename}"',
            f"Content-Length: {len(self.content)}",
        )
        return "\r\n".join(headers).encode("ascii") + b"\r\n\r\n" + self.content


class MultipartReply(Response):
    """A multipart/mixed response of the given parts, in their order."""

    def __init__(self, *parts: Part) -> None:
        boundary = secrets.token_hex(16)  # 128 random bits: no content holds them
        super().__init__(join(parts, boundary=boundary), media_type=f"multipart/mixed; boundary={boundary}")


def join(parts: tuple[Part, ...], *, boundary: str) -> bytes:
    """Body of a multipart message.

    Example:
        >>> join((Part("a", "a.txt", "text/plain", b"one"),), boundary="xyz").startswith(b"--xyz")
        True
    """
    delimiter = b"--" + boundary.encode("ascii")
    pieces = [delimiter + b"\r\n" + part.encode() + b"\r\n" for part in parts]
    return b"".join((*pieces, delimiter, b"--\r\n"))
