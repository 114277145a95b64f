"""What the header of a volume file announces, and the refusals that all formats share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.errors import Code, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

Notes = tuple[tuple[str, str], ...]  # (code, sentence) of everything repaired or unusual

REMEDY_EXPORT = "Export or copy the image again from where it comes from, and send that file."


class Codec(StrEnum):
    """How the bytes from some offset on are packed."""

    NONE = "none"
    DEFLATE = "deflate"  # zlib or gzip, recognised by its first bytes
    BZIP2 = "bzip2"


@dataclass(frozen=True)
class Layout:
    """Where the voxels of a file lie.

    ``sizes`` are in the file's order (x first). The packed part begins at ``packed_at`` in the file; in what
    comes out, the voxels begin at ``voxels_at``. ``floating`` is their NumPy type where ITK would hide
    that some are not finite.
    """

    sizes: tuple[int, ...]
    voxel_bytes: int
    codec: Codec
    packed_at: int
    voxels_at: int
    warnings: Notes = ()
    floating: str | None = None

    @property
    def expected_bytes(self) -> int:
        """Bytes that must come out of the packed part."""
        return self.voxels_at + self.voxel_bytes * math.prod(self.sizes)

    @property
    def slice_bytes(self) -> int:
        """Bytes of one slice (of one row in two dimensions)."""
        return math.prod(self.sizes[:-1]) * self.voxel_bytes


def corrupt(name: str, what: str, *, observed: Any = None, expected: Any = None) -> Refusal:
    """A refusal for a file that contradicts itself."""
    return Refusal(
        Code.INPUT_CORRUPT,
        f"{name} is damaged: {what}",
        remedy=REMEDY_EXPORT,
        observed=observed,
        expected=expected,
    )


def truncated(name: str, observed: int, expected: int | None) -> Refusal:
    """A refusal for a file that ends too early."""
    announced = "" if expected is None else f" of {expected:,}"
    return Refusal(
        Code.INPUT_TRUNCATED,
        f"{name} is incomplete: it ends after {observed:,}{announced} bytes.",
        remedy=REMEDY_EXPORT,
        observed=observed,
        expected=expected,
    )


def unsupported(name: str, what: str, *, remedy: str, observed: Any = None, expected: Any = None) -> Refusal:
    """A refusal for a file of a kind that is not read."""
    return Refusal(
        Code.INPUT_UNSUPPORTED_FORMAT, f"{name} {what}", remedy=remedy, observed=observed, expected=expected
    )


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Refuse sizes that are not positive."""
    if not sizes or min(sizes) < 1:
        raise corrupt(
            name,
            f"its header says that it has {times(sizes)} voxels.",
            observed=list(sizes),
            expected="sizes of at least 1",
        )


def check_dimensions(name: str, sizes: Sequence[int]) -> None:
    """Refuse all but two and three dimensions: nnU-Net reads four, but cannot write such a prediction."""
    if len(sizes) not in (2, 3):
        raise unsupported(
            name,
            f"has {len(sizes)} dimensions ({times(sizes)}).",
            remedy="Send one file with two or three dimensions for each channel or time point.",
            observed=list(sizes),
            expected="2 or 3 dimensions",
        )


def check_spacing(name: str, spacing: Sequence[float]) -> None:
    """Refuse a spacing that is not finite and positive; ITK would silently put 1 in its place."""
    if not all(math.isfinite(value) and value > 0 for value in spacing):
        raise corrupt(
            name,
            f"its voxel spacing is {times(spacing)} mm.",
            observed=[repr(float(value)) for value in spacing],
            expected="finite and positive spacing",
        )


def times(values: Sequence[float]) -> str:
    """Write sizes or spacings for people.

    Example:
        >>> times((30, 40, 1.5))
        '30 x 40 x 1.5'
    """
    return " x ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values) or "no"
