"""Servers that tests share: one with a fake engine per module, one with a real bundle for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ...models import ModelFolderSpec, write_model_folder
from .fakes import PATIENCE, FakeEngine, Service, serving, wait_for
from .real import Server, started, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A ready server with one model of the channels T1 and FLAIR."""
    with serving(FakeEngine(), folder=tmp_path_factory.mktemp("uploads")) as running:
        yield running


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small network with random weights."""
    from nnunet_losses.export.bundle_writer import export_bundle

    folder = tmp_path_factory.mktemp("model")
    write_model_folder(folder / "model", ModelFolderSpec(patch_size=(8, 16, 16), features=(4, 8)))
    return export_bundle(folder / "model", folder / "random.bundle")


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The command in a process of its own, ready."""
    folder = tmp_path_factory.mktemp("server")
    write_image(folder / "image.nii.gz")
    with started(bundle, folder) as (process, url):
        running = Server(process, url, folder, folder / "image.nii.gz")
        with running.client:
            wait_for(lambda: running.client.get("/v2/health/ready").status_code == 200, seconds=2 * PATIENCE)
            yield running
