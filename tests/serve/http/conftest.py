"""One server with a fake engine for all tests that leave it as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .fakes import FakeEngine, Service, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A ready server with one model of the channels T1 and FLAIR."""
    with serving(FakeEngine(), folder=tmp_path_factory.mktemp("uploads")) as running:
        yield running
