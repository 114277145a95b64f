"""What keeps a calibration from being made."""

from __future__ import annotations


class CalibrationError(ValueError):
    """The cases, or the bundle, do not allow it; the message says what does."""
