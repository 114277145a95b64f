"""A series goes to Orthanc, comes back, is segmented, and its SEG goes there, too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pydicom
import pytest

from nnunet_losses.serve.dicomweb import Archive, Budget, Origins
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.outputs import write_outputs
from nnunet_losses.serve.schema import Reader

from ..dicom.series import UIDS, phantom, write_series
from ..models import description
from ..outputs.cases import answer
from .conftest import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = Budget(seconds=PATIENCE)


def test_there_and_back(orthanc: str, tmp_path: Path) -> None:
    made = phantom()
    folder = write_series(tmp_path / "series", made.datasets())
    archive = Archive(orthanc, Origins((orthanc,)), budget=BUDGET)
    archive.store(sorted(folder.iterdir()))
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    files = archive.fetch_series(UIDS["study"], UIDS["series"], fetched)
    assert sorted(file.name for file in fetched.iterdir()) == [file.name for file in sorted(files)]
    image = read_image([fetched], reader=Reader.SIMPLE_ITK, orientation="LPS")
    assert np.array_equal(image.data[0], made.voxels - 1024)
    mask = (image.data[0] > 200).astype(np.uint8)
    outputs = write_outputs(["seg", "rtstruct"], mask, image, answer(), description(), tmp_path)
    archive.store([output.path for output in outputs])
    seg = pydicom.dcmread(outputs[0].path)
    found = httpx.get(
        f"{orthanc}/studies/{UIDS['study']}/series",
        params={"SeriesInstanceUID": seg.SeriesInstanceUID},
        headers={"Accept": "application/dicom+json"},
        trust_env=False,
        timeout=PATIENCE,
    )
    assert len(found.json()) == 1


def test_more_than_the_budget_is_not_taken(orthanc: str, tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", phantom().datasets())
    Archive(orthanc, Origins((orthanc,)), budget=BUDGET).store(sorted(folder.iterdir()))
    small = Archive(orthanc, Origins((orthanc,)), budget=replace(BUDGET, bytes_received=1000))
    with pytest.raises(Refusal) as caught:
        small.fetch_series(UIDS["study"], UIDS["series"], tmp_path)
    assert caught.value.code is Code.INPUT_TOO_LARGE
    assert not list(tmp_path.glob(".body"))


def test_what_is_not_there_and_what_is_not_taken(orthanc: str, tmp_path: Path) -> None:
    archive = Archive(orthanc, Origins((orthanc,)), budget=BUDGET)
    with pytest.raises(Refusal) as caught:
        archive.fetch_series("1.2.3", "1.2.4", tmp_path)
    assert caught.value.code is Code.DICOMWEB_NOT_FOUND
    (tmp_path / "no.dcm").write_bytes(b"text")
    with pytest.raises(Refusal) as caught:
        archive.store([tmp_path / "no.dcm"])
    assert caught.value.code is Code.DICOMWEB_REFUSED
