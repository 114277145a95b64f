"""Logs as JSON lines with a request id, and without anything that a client sent.

A record is an event's name with fields that this package chose. Of an unexpected exception the type and the
places are logged, not its message: messages may quote a header or a file.
"""

from __future__ import annotations

import json
import logging
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("nnunet_losses.serve")
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)


def log_event(
    event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any
) -> None:
    """Log one event of the service; ``error`` adds its type and stack."""
    if error is not None:
        fields |= {"error": type(error).__name__, "stack": _places(error)}
    LOGGER.log(level, event, extra={"fields": fields, "request_id": REQUEST_ID.get()})


def _places(error: BaseException) -> list[str]:
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, event, request id, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render without ``exc_info``: see the module."""
        content = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            "request_id": getattr(record, "request_id", None),
            **getattr(record, "fields", {}),
        }
        return json.dumps({key: value for key, value in content.items() if value is not None}, default=str)


def logging_configuration(*, level: str = "INFO") -> dict[str, Any]:
    """Build the ``logging.config.dictConfig`` of the server process: JSON to standard error.

    uvicorn's access log is off, because it holds raw paths; the service logs route templates itself.
    """
    quiet = {"level": "ERROR"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.{JsonFormatter.__name__}"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            LOGGER.name: {"level": level},
            "uvicorn.error": {"level": "WARNING"},
            "uvicorn.access": quiet,
            "python_multipart": quiet,
        },
    }
