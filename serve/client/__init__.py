"""A client of the service: ``Client(url).segment({"MRI": path})``."""

from .client import Client
from .errors import (
    Busy,
    Damaged,
    Forbidden,
    InputRefused,
    NotFound,
    Rejected,
    ServerFailed,
    ServiceError,
    Unreachable,
)
from .records import Artifact, Event, Job, Model, Progress, Push, Series

__all__ = [
    "Artifact", "Busy", "Client", "Damaged", "Event", "Forbidden", "InputRefused", "Job", "Model", "NotFound",
    "Progress", "Push", "Rejected", "Series", "ServerFailed", "ServiceError", "Unreachable",
]  # fmt: skip
