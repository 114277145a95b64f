from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_losses.phantom import Phantom, case_seed, lesion_free_cases, make_case, write_dataset

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {
    2: Phantom(size=(32, 32), spacing=(1.0, 1.0)),
    3: Phantom(size=(12, 24, 24), spacing=(2.0, 1.0, 1.0)),
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cases.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_same_seed_writes_the_same_bytes(tmp_path: Path, dimension: int) -> None:
    first, again, other = (
        write_dataset(tmp_path / name, settings=SMALL[dimension], cases=3, test_cases=2, seed=seed)
        for name, seed in (("first", 5), ("again", 5), ("other", 6))
    )
    assert files(first) == files(again)
    assert files(first).keys() == files(other).keys()
    assert files(first) != files(other)


def test_a_case_depends_on_no_other_case(tmp_path: Path) -> None:
    few = write_dataset(tmp_path / "few", settings=SMALL[2], cases=2, test_cases=1, lesion_free=0)
    many = write_dataset(tmp_path / "many", settings=SMALL[2], cases=5, test_cases=3, lesion_free=0)
    assert all(files(many)[name] == content for name, content in files(few).items() if name.endswith(".png"))


def test_a_case_can_be_drawn_again_from_the_table(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, settings=SMALL[3], cases=2, test_cases=1, lesion_free=0)
    for row in rows(folder):
        case = make_case(SMALL[3], int(row["seed"]))
        ending = {"train": "Tr", "test": "Ts"}[row["split"]]
        image = sitk.ReadImage(folder / f"images{ending}" / f"{row['case']}_0000.nii.gz")
        labels = sitk.ReadImage(folder / f"labels{ending}" / f"{row['case']}.nii.gz")
        assert np.array_equal(sitk.GetArrayFromImage(image), case.image[0])
        assert np.array_equal(sitk.GetArrayFromImage(labels), case.labels)
        assert np.allclose(image.GetSpacing()[::-1], case.spacing, rtol=1e-6)
        assert np.allclose(image.GetOrigin(), case.origin, rtol=1e-5)
        assert np.allclose(image.GetDirection(), case.direction, atol=1e-5)
        assert int(row["lesions"]) == len(case.lesions)
        assert int(row["lesion_voxels"]) == (case.labels == 2).sum()


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(10, 0.3, 3), (10, 0.25, 3), (7, 0.5, 4), (5, 0, 0), (5, 1, 5), (0, 0.5, 0)],
)
def test_the_share_of_lesion_free_cases_is_exact(count: int, share: float, expected: int) -> None:
    for seed in range(5):
        chosen = lesion_free_cases(count, share, seed=seed)
        assert len(chosen) == expected
        assert chosen <= set(range(count))


def test_other_seeds_choose_other_lesion_free_cases() -> None:
    assert len({lesion_free_cases(20, 0.3, seed=seed) for seed in range(10)}) > 5


def test_lesion_free_cases_have_no_lesion_and_all_others_have_one(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, settings=SMALL[2], cases=10, test_cases=5, lesion_free=0.4)
    empty = {row["case"] for row in rows(folder) if row["lesions"] == "0"}
    assert len([name for name in empty if name.startswith("case")]) == 4
    assert len([name for name in empty if name.startswith("test")]) == 2
    for row in rows(folder):
        ending = {"train": "Tr", "test": "Ts"}[row["split"]]
        labels = sitk.GetArrayFromImage(sitk.ReadImage(folder / f"labels{ending}" / f"{row['case']}.png"))
        assert (labels == 2).any() == (row["case"] not in empty)


def test_seeds_of_cases_are_all_different() -> None:
    seeds = [
        case_seed(seed, split=split, index=i) for seed in range(3) for split in (0, 1) for i in range(50)
    ]
    assert len(set(seeds)) == len(seeds)


def test_several_channels_and_regions(tmp_path: Path) -> None:
    settings = Phantom(size=(12, 24, 24), channels=("T1", "T2"), labelling="regions")
    folder = write_dataset(tmp_path, settings=settings, cases=1, test_cases=1)
    description = json.loads((folder / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "T1", "1": "T2"}
    assert description["regions_class_order"] == [1, 2]
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [
        "case_000_0000.nii.gz",
        "case_000_0001.nii.gz",
    ]


def test_two_dimensional_images_as_nifti(tmp_path: Path) -> None:
    settings = Phantom(size=(32, 32), spacing=(0.5, 0.5), file_ending=".nii.gz")
    folder = write_dataset(tmp_path, settings=settings, cases=1, test_cases=0)
    image = sitk.ReadImage(folder / "imagesTr" / "case_000_0000.nii.gz")
    assert image.GetDimension() == 2
    assert image.GetSpacing()[0] == pytest.approx(0.5, rel=0.11)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, settings=SMALL[2], cases=1, test_cases=0)
    before = files(folder)
    for name in ("Dataset901_Phantom", "Dataset901_Other"):
        with pytest.raises(FileExistsError, match="already holds Dataset901_Phantom"):
            write_dataset(tmp_path, settings=SMALL[2], cases=2, name=name)
    assert files(tmp_path / "Dataset901_Phantom") == before
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset901_Phantom"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "Phantom"}, "Dataset901_Phantom"),
        ({"name": "Dataset901_../x"}, "Dataset901_Phantom"),
        ({"cases": 0}, "at least one"),
        ({"test_cases": -1}, "not negative"),
        ({"lesion_free": 1.5}, "share"),
        ({"seed": -3}, "not negative"),
        ({"dimension": 5}, "not 5"),
    ],
)
def test_senseless_requests_leave_nothing_behind(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        write_dataset(tmp_path / "raw", **change)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    "settings",
    [
        SMALL[2],
        Phantom(size=(12, 24, 24), channels=("T1", "T2"), labelling="regions"),
        Phantom(size=(32, 32), spacing=(1.0, 1.0), file_ending=".nii.gz", labelling="lesion"),
    ],
    ids=["2d png", "3d regions", "2d nifti"],
)
def test_nnunet_accepts_the_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: Phantom
) -> None:
    from nnunetv2.experiment_planning import verify_dataset_integrity as integrity

    folder = write_dataset(tmp_path, settings=settings, cases=3, test_cases=0, lesion_free=0.4)
    integrity.verify_dataset_integrity(str(folder), num_processes=1)
    printed = capsys.readouterr().out
    assert "verify_dataset_integrity Done" in printed
    assert "rror:" not in printed.replace("If you didn't see any error messages", "")
    assert "WARNING" not in printed.upper()
