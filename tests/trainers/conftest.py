"""Preprocessed data, written once for all tests of a kind of label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.trainers import data

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.models import ModelFolderSpec


@pytest.fixture(scope="session")
def preprocessed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ModelFolderSpec], Path]:
    """Give the root of preprocessed data of a kind, which nobody may change."""
    written: dict[str, Path] = {}

    def write(spec: ModelFolderSpec) -> Path:
        key = repr(spec)
        if key not in written:
            written[key] = tmp_path_factory.mktemp("preprocessed")
            data.write_preprocessed(written[key], spec)
        return written[key]

    return write


@pytest.fixture
def trainer_of(
    preprocessed: Callable[[ModelFolderSpec], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Make a trainer, by name or class, on data of a kind."""
    from nnunet_losses import trainers

    def make(trainer: str | type[Any], spec: ModelFolderSpec = data.LABELS, **short: int) -> Any:
        data.set_environment(monkeypatch, preprocessed(spec), tmp_path)
        cls = getattr(trainers, trainer) if isinstance(trainer, str) else trainer
        return data.make_trainer(cls, spec, **short)

    return make
