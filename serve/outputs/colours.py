"""Colours that colour-blind people can tell apart, the same for a label in every output.

Okabe and Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

PALETTE = (
    (230, 159, 0),  # orange
    (86, 180, 233),  # sky blue
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (0, 114, 178),  # blue
    (213, 94, 0),  # vermilion
    (204, 121, 167),  # reddish purple
)


def colour(index: int) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of the label at a position; they repeat after seven.

    Example:
        >>> colour(0), colour(7) == colour(0)
        ((230, 159, 0), True)
    """
    return PALETTE[index % len(PALETTE)]
