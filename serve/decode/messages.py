"""What goes between the service and the process that decodes: JSON, never pickles, and one file of voxels.

A hostile file may have taken that process over. So whatever comes back is taken for data of unknown origin:
JSON with known members, and a sealed memory file whose size is checked.
"""

from __future__ import annotations

import fcntl
import json
import math
import mmap
import os
import socket
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Limits
from nnunet_losses.serve.image import Geometry, Image, Series
from nnunet_losses.serve.schema import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_LENGTH = struct.Struct(">Q")
LARGEST_MESSAGE = 64 * 2**20
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def send(channel: socket.socket, message: Mapping[str, Any], *, voxels: int | None = None) -> None:
    """Send a message, and a file descriptor with it."""
    content = json.dumps(message).encode()
    head = _LENGTH.pack(len(content))
    if voxels is None:
        channel.sendall(head)
    else:
        socket.send_fds(channel, [head], [voxels])
    channel.sendall(content)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive a message and the file descriptors that came with it.

    Raises:
        EOFError: the other side has ended.
        ValueError: what came is no message.
    """
    head, descriptors, _, _ = socket.recv_fds(channel, _LENGTH.size, 1)
    try:
        return _message(channel, head), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _message(channel: socket.socket, head: bytes) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(head + _exactly(channel, _LENGTH.size - len(head)))
    if length > LARGEST_MESSAGE:
        raise ValueError(f"a message of {length} bytes")
    message = json.loads(_exactly(channel, length))
    if not isinstance(message, dict):
        raise ValueError("a message that is no object")  # noqa: TRY004 - of the data, not of an argument
    return message


def _exactly(channel: socket.socket, length: int) -> bytes:
    content = bytearray()
    while len(content) < length:
        piece = channel.recv(min(length - len(content), 1 << 20))
        if not piece:
            raise EOFError
        content += piece
    return bytes(content)


@dataclass(frozen=True)
class Question:
    """What to read: the arguments of ``read_image``, and what it may cost, by the names in ``Budget``."""

    files: tuple[Path, ...]
    reader: Reader
    limits: Limits
    orientation: str | None
    costs: Mapping[str, float]

    def message(self) -> dict[str, Any]:
        """As JSON."""
        paths = [os.fspath(file.absolute()) for file in self.files]
        return asdict(self) | {"files": paths, "reader": self.reader.value}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Question:
        """Read what ``message`` gave."""
        files = tuple(Path(path) for path in message["files"])
        reader, limits = Reader(message["reader"]), Limits(**message["limits"])
        return cls(files, reader, limits, message["orientation"], message["costs"])


def description_of(image: Image) -> dict[str, Any]:
    """Everything of an image but its voxels."""
    series = None if image.series is None else asdict(image.series)
    return {
        "shape": image.data.shape,
        "spacing": image.spacing,
        "geometry": asdict(image.geometry),
        "sha256": image.sha256,
        "warnings": image.warnings,
        "series": series,
    }


def refusal_message(refusal: Refusal) -> dict[str, Any]:
    """A refusal's members."""
    members = ("detail", "remedy", "observed", "expected")
    return {"code": refusal.code.value} | {name: getattr(refusal, name) for name in members}


def refusal_of(message: Mapping[str, Any]) -> Refusal:
    """Read ``refusal_message``'s message."""
    return Refusal(
        Code(message["code"]),
        str(message["detail"]),
        remedy=str(message["remedy"]),
        observed=message["observed"],
        expected=message["expected"],
    )


def image_of(message: Mapping[str, Any], descriptor: int) -> Image:
    """An image whose voxels are the memory file's; nobody else can change it any more.

    Raises:
        ValueError: where size and description do not belong together.
        OSError: where the file cannot be sealed.
    """
    shape = tuple(int(size) for size in message["shape"])
    return Image(
        data=_mapped(descriptor, shape),
        spacing=_three(message["spacing"]),
        geometry=Geometry(**{name: _frozen(value) for name, value in message["geometry"].items()}),
        sha256=str(message["sha256"]),
        warnings=tuple((str(code), str(text)) for code, text in message["warnings"]),
        series=None if message["series"] is None else _series(message["series"]),
    )


def _series(members: Mapping[str, Any]) -> Series:
    return Series(
        common=dict(members["common"]),
        instances=tuple(dict(instance) for instance in members["instances"]),
    )


def _mapped(descriptor: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    size = math.prod(shape) * 4
    if len(shape) != 4 or min(shape) < 1 or os.fstat(descriptor).st_size != size:
        raise ValueError("voxels and their description differ")
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    pages = mmap.mmap(descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    return np.frombuffer(pages, np.float32).reshape(shape)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in values)
    return z, y, x


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
