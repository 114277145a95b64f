"""An archive that does what a test wants: answers, stalls, breaks off, redirects, refuses."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUNDARY = "fake"
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@dataclass
class FakeArchive:
    """Series by (study, series), each a list of files; what was stored; and what was asked for.

    ``before`` is called with each request; what it returns is the status to answer with, None the usual one.
    """

    url: str = ""
    series: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    stored: list[bytes] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    before: Callable[[Handler], int | None] = lambda _: None
    refuses: str | None = None  # the sequence in which it lists what it does not take

    def related(self, study: str, series: str) -> bytes | None:
        """A body with all files of a series."""
        files = self.series.get((study, series))
        if files is None:
            return None
        parts = [b"--fake\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files]
        return b"".join(parts) + b"--fake--\r\n"


class Handler(BaseHTTPRequestHandler):
    """One request to the archive of the server."""

    protocol_version = "HTTP/1.1"
    archive: FakeArchive

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        status = self._begin()
        body = self.archive.related(*self.path.split("/")[3::2]) if status is None else None
        if status is None and body is not None:
            self.answer(200, body, RELATED)
        else:
            self.answer(status or 404, b"no such thing: Doe^Jane", "text/plain")

    def do_POST(self) -> None:
        body = self._body()
        status = self._begin()
        if status is not None:
            self.answer(status, b"", "text/plain")
            return
        parts = body.split(b"\r\n\r\n")[1:]
        if not self.archive.refuses:
            self.archive.stored += [part.rpartition(b"\r\n--")[0] for part in parts]
        tag = self.archive.refuses
        failed = {tag: {"vr": "SQ", "Value": [{}] * len(parts)}} if tag else {}
        self.answer(200, json.dumps(failed).encode(), "application/dicom+json")

    def _begin(self) -> int | None:
        self.archive.requests.append((self.command, self.path))
        self.archive.headers.append(dict(self.headers))
        return self.archive.before(self)

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if 300 <= status < 400:
            self.send_header("Location", "http://localhost:9/elsewhere")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def fake_archive() -> Iterator[FakeArchive]:
    """Run one on the loopback interface."""
    archive = FakeArchive()
    handler = type("Bound", (Handler,), {"archive": archive})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that go away
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    archive.url = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        yield archive
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
