"""Slabs of the real lesions: no slice is in training and in test, and none moves."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from benchmarks import ms_lesions

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (182, 218, 182)
AFFINE = np.diag([-1.0, 1.0, 1.0, 1.0])


def volume(path: Path) -> None:
    """Every voxel holds the number of its axial slice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.broadcast_to(np.arange(SHAPE[2], dtype=np.uint8), SHAPE)
    nib.save(nib.Nifti1Image(np.ascontiguousarray(data), AFFINE), path)


def slices(path: Path) -> set[int]:
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    assert data.shape == (144, 176, ms_lesions.THICK)
    assert image.affine[2, 3] == data.min(), "the slab lies where it lay"
    return set(np.unique(data).tolist())


def test_slabs_share_no_slice_and_none_borders_on_another(tmp_path: Path):
    source, target = tmp_path / "source", tmp_path / "target"
    for name in ("imagesTr/a_0000", "imagesTr/a_0001", "labelsTr/a"):
        volume(source / f"{name}.nii.gz")
    (source / "dataset.json").write_text(json.dumps({"numTraining": 1}))
    for kind in ("images", "labels"):
        ms_lesions.write_slabs(source, target, kind=kind)
    ms_lesions.write_description(source, target)
    of = {
        part: [slices(file) for file in sorted((target / f"labels{part}").iterdir())] for part in ("Tr", "Ts")
    }
    assert [len(of["Tr"]), len(of["Ts"])] == [8, 7]
    learnt, judged = (set().union(*of[part]) for part in ("Tr", "Ts"))
    assert not {near for one in learnt for near in (one - 1, one, one + 1)} & judged
    assert json.loads((target / "dataset.json").read_text())["numTraining"] == 8
    assert len(list((target / "imagesTr").glob("a_slab00_000[01].nii.gz"))) == 2
