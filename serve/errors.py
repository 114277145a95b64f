"""Refusals. Every one has a stable code, says what was seen and expected, and what to do."""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Stable codes of refusals. A code never changes its meaning; the documentation lists them."""

    # undecodable input: nothing can be said about the image (HTTP 400, 413)
    INPUT_MISSING = "input.missing"
    INPUT_UNREADABLE = "input.unreadable"
    INPUT_UNSUPPORTED_FORMAT = "input.unsupported_format"
    INPUT_TRUNCATED = "input.truncated"
    INPUT_CORRUPT = "input.corrupt"
    INPUT_TOO_LARGE = "input.too_large"
    INPUT_DECODER_FAILED = "input.decoder_failed"
    INPUT_DECODER_TIMEOUT = "input.decoder_timeout"
    INPUT_DECODER_MEMORY = "input.decoder_memory"
    INPUT_UNSAFE_ARCHIVE = "input.unsafe_archive"
    # slices that do not make one regular volume
    SERIES_NO_IMAGES = "series.no_images"
    SERIES_MIXED = "series.mixed"
    SERIES_MISSING_SLICE = "series.missing_slice"
    SERIES_DUPLICATE_SLICE = "series.duplicate_slice"
    SERIES_TILTED = "series.tilted"
    SERIES_UNPLACED = "series.unplaced"
    SERIES_RESCALE = "series.rescale"
    SERIES_MULTI_FRAME = "series.multi_frame"
    SERIES_TRANSFER_SYNTAX = "series.transfer_syntax"
    # a readable image that is not what the model was made for (HTTP 422, with an answer)
    CONTRACT_CHANNEL_COUNT = "contract.channel_count"
    CONTRACT_CHANNEL_NAME = "contract.channel_name"
    CONTRACT_DIMENSIONS = "contract.dimensions"
    CONTRACT_GEOMETRY_MISMATCH = "contract.geometry_mismatch"
    CONTRACT_SPACING = "contract.spacing"
    CONTRACT_SIZE = "contract.size"
    CONTRACT_NON_FINITE = "contract.non_finite"
    CONTRACT_BLANK = "contract.blank"
    CONTRACT_CONSTANT = "contract.constant"
    CONTRACT_VALUE_RANGE = "contract.value_range"
    # an answer that the caller asked not to be given (HTTP 422, with the answer)
    POLICY_OUT_OF_DISTRIBUTION = "policy.out_of_distribution"
    POLICY_EMPTY = "policy.empty"
    # what was asked for cannot be written
    OUTPUT_UNKNOWN = "output.unknown"
    OUTPUT_IMPOSSIBLE = "output.impossible"
    OUTPUT_NOT_INSTALLED = "output.not_installed"
    # an archive of images elsewhere
    DICOMWEB_NOT_ALLOWED = "dicomweb.not_allowed"
    DICOMWEB_NOT_FOUND = "dicomweb.not_found"
    DICOMWEB_UNREACHABLE = "dicomweb.unreachable"
    DICOMWEB_REFUSED = "dicomweb.refused"
    # bundles and engines
    BUNDLE_UNREADABLE = "bundle.unreadable"
    BUNDLE_UNSUPPORTED = "bundle.unsupported"
    BUNDLE_HASH_MISMATCH = "bundle.hash_mismatch"
    BUNDLE_SELF_TEST_FAILED = "bundle.self_test_failed"
    BUNDLE_TIMEOUT = "bundle.timeout"
    BACKEND_UNAVAILABLE = "backend.unavailable"
    BACKEND_FAILED = "backend.failed"


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a fault of the program
    """Something that is not done, and why.

    Args:
        code: what kind of refusal, stable.
        detail: what was seen and what was expected, in a sentence, without file system paths.
        remedy: what the user can do.
        observed: the value that was seen, JSON-serialisable.
        expected: the value that was expected, JSON-serialisable.

    Example:
        >>> refusal = Refusal(Code.CONTRACT_BLANK, "All voxels are 0.", remedy="Send the image itself.")
        >>> refusal.code.value, str(refusal)
        ('contract.blank', 'All voxels are 0. Send the image itself.')
    """

    def __init__(
        self, code: Code, detail: str, *, remedy: str, observed: Any = None, expected: Any = None
    ) -> None:
        super().__init__(f"{detail} {remedy}")
        self.code = code
        self.detail = detail
        self.remedy = remedy
        self.observed = observed
        self.expected = expected

    @property
    def is_contract_breach(self) -> bool:
        """Whether the image was readable, but is not what the model was made for."""
        return self.code.value.startswith("contract.")
