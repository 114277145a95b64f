"""What the doctor says: one finding per question."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a finding stands. Only ``BROKEN`` makes the doctor exit with 1."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One answer.

    Args:
        subject: what was looked at.
        state: how it stands.
        text: what was seen.
        remedy: how to mend it; empty where there is nothing to mend.
    """

    subject: str
    state: State
    text: str
    remedy: str = ""
