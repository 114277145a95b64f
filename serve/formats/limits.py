"""How large an input may be. Checked on what a header announces, before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nnunet_losses.serve.errors import Code, Refusal

GIBIBYTE = 2**30
PICTURE_PIXELS = 178_956_970  # twice Pillow's MAX_IMAGE_PIXELS: where Pillow, and with it nnU-Net, gives up


@dataclass(frozen=True)
class Limits:
    """Budgets for one case.

    Args:
        file_bytes: largest input file.
        decoded_bytes: largest decompressed file.
        picture_pixels: largest picture (PNG, BMP, TIFF), width times height.
        memory_bytes: what one prediction may need; None takes 80 % of the memory that is free at the time.

    Example:
        >>> Limits(memory_bytes=2 * GIBIBYTE).decoded_bytes // GIBIBYTE
        16
    """

    file_bytes: int = 8 * GIBIBYTE
    decoded_bytes: int = 16 * GIBIBYTE
    picture_pixels: int = PICTURE_PIXELS
    memory_bytes: int | None = None

    def check_file(self, name: str, size: int) -> None:
        """Refuse a file that is larger than the budget."""
        _check(name, "has", size, self.file_bytes)

    def check_decoded(self, name: str, size: int) -> None:
        """Refuse a file whose contents are, or say they are, larger than the budget."""
        _check(name, "unpacks to", size, self.decoded_bytes)

    def check_picture(self, name: str, width: int, height: int) -> None:
        """Refuse a picture with too many pixels."""
        if math.prod((width, height)) > self.picture_pixels:
            raise Refusal(
                Code.INPUT_TOO_LARGE,
                f"{name} says that it has {width} x {height} pixels; {self.picture_pixels:,} are accepted.",
                remedy="Send a smaller section of the picture.",
                observed=[width, height],
                expected={"pixels_at_most": self.picture_pixels},
            )


def _check(name: str, verb: str, size: int, budget: int) -> None:
    if size > budget:
        raise Refusal(
            Code.INPUT_TOO_LARGE,
            f"{name} {verb} {size:,} bytes; at most {budget:,} are accepted.",
            remedy="Crop the image to the region of interest, or ask the operator to raise the limit.",
            observed=size,
            expected={"bytes_at_most": budget},
        )
