"""Image files in, mask files out."""

from .cases import Case, Incomplete, case_from_channels, case_name, find_cases
from .limits import Limits
from .reading import ENDINGS, accepted_endings, companions, ending_of, read_image, read_mask
from .writing import write_mask, write_text

__all__ = [
    "ENDINGS",
    "Case",
    "Incomplete",
    "Limits",
    "accepted_endings",
    "case_from_channels",
    "case_name",
    "companions",
    "ending_of",
    "find_cases",
    "read_image",
    "read_mask",
    "write_mask",
    "write_text",
]
