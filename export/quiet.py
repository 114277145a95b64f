"""nnU-Net and the ONNX exporter talk on stdout; a command's output is its own."""

from __future__ import annotations

import io
import logging
import os
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def quiet() -> Iterator[None]:
    """Swallow prints, progress bars and warnings of third-party code. Exceptions pass."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        previous = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(previous)


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables for a while.

    Example:
        >>> with environment(NNUNET_LOSSES_EXAMPLE="1"):
        ...     os.environ["NNUNET_LOSSES_EXAMPLE"]
        '1'
        >>> "NNUNET_LOSSES_EXAMPLE" in os.environ
        False
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
