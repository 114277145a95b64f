"""Data that changes between two runs in the same folder is noticed; data of no use, before any training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from nnunet_losses.compare.data_check import read_files, write_files
from nnunet_losses.compare.folders import NnunetFolders
from nnunet_losses.compare.inspection import inspect_files, values_by_case
from nnunet_losses.compare.preprocessing import Training
from nnunet_losses.compare.results import RESULT_FILE
from nnunet_losses.compare.sets import Case, ImageSet, Role, _values
from nnunet_losses.compare.study import StudyError

if TYPE_CHECKING:
    from pathlib import Path

GRAY = {"channel_names": {"0": "L"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".png"}


def picture(file: Path, value: int, *, channels: int = 1) -> Path:
    values = np.full((4, 6) if channels == 1 else (4, 6, channels), value, np.uint8)
    Image.fromarray(values).save(file)
    return file


class Data:
    """One training case and one OoD image, and an output folder."""

    def __init__(self, folder: Path) -> None:
        self.trained, self.strange = (picture(folder / f"{name}_0000.png", 1) for name in ("a", "o"))
        self.output = folder / "out"
        self.cell = self.output / "cells" / "dice__fold_0__seed_0"
        folders = NnunetFolders(raw=folder, preprocessed=folder)
        self.training = Training(folders, GRAY, {"a": Case(name="a", images=(self.trained,))})
        self.output.mkdir()

    def check(self, *, strange: bool = True) -> None:
        sets = (ImageSet(role=Role.OOD, cases=(Case(name="o", images=(self.strange,)),)),)
        further = sets if strange else ()
        write_files(self.output, inspect_files(self.training, further, self.output))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    made = Data(tmp_path)
    made.check()
    return made


def test_training_data_that_changed_is_refused_once_a_cell_has_begun(data: Data) -> None:
    (data.cell / "nnunet").mkdir(parents=True)
    data.check()
    data.trained.touch()  # the same bytes
    data.check()
    picture(data.trained, 2)
    with pytest.raises(StudyError, match=r"learnt from other data \(a_0000.png changed\); restore it"):
        data.check()


def test_training_data_that_changed_before_is_preprocessed_again(data: Data) -> None:
    (data.output / "preprocessed.done").touch()
    picture(data.trained, 2)
    data.check()
    assert not (data.output / "preprocessed.done").exists()
    assert (data.output / "preprocessing.log").exists(), "a sign that it has not ended"


def test_judged_images_may_change_until_a_cell_is_done(data: Data) -> None:
    (data.cell / "nnunet").mkdir(parents=True)
    picture(data.strange, 2)
    data.check()
    (data.cell / RESULT_FILE).touch()
    picture(data.strange, 3)
    with pytest.raises(StudyError, match=r"judged on other data \(o_0000.png changed\)"):
        data.check()


def test_judged_images_are_remembered_while_they_are_left_out(data: Data) -> None:
    data.cell.mkdir(parents=True)
    (data.cell / RESULT_FILE).touch()
    picture(data.strange, 2)
    data.check(strange=False)
    with pytest.raises(StudyError, match=r"judged on other data \(o_0000.png changed\)"):
        data.check()


def test_splits_of_other_cases_are_refused_when_the_data_changed(data: Data) -> None:
    splits = data.output / "nnunet" / "preprocessed" / "Dataset001_A" / "splits_final.json"
    splits.parent.mkdir(parents=True)
    picture(data.trained, 2)
    splits.write_text('[{"train": ["a"], "val": ["gone"]}]')
    with pytest.raises(StudyError, match=r"was made for other cases .* \(gone\); delete it"):
        data.check()
    splits.write_text('[{"train": ["a"], "val": []}]')
    data.check()


def test_preprocessed_data_that_others_use_is_named_with_the_refusal(data: Data) -> None:
    (data.cell / "nnunet").mkdir(parents=True)
    picture(data.trained, 2)
    with pytest.raises(StudyError, match=r"take another folder and delete the preprocessed images of"):
        data.check()


def test_images_of_no_use_are_refused_before_anything_is_trained(data: Data) -> None:
    picture(data.strange, 2, channels=3)
    with pytest.raises(
        StudyError, match=r"case o has 3 channels .* has 1 \(L\); convert it, or leave it out"
    ):
        data.check()
    data.strange.write_bytes(data.strange.read_bytes()[:40])
    with pytest.raises(StudyError, match=r"case o cannot be read"):
        data.check()


def test_a_training_mask_with_values_that_are_no_labels_is_refused(data: Data, tmp_path: Path) -> None:
    case = data.training.cases["a"].model_copy(update={"reference": picture(tmp_path / "a.png", 7)})
    data.training = Training(data.training.folders, GRAY, {"a": case})
    with pytest.raises(
        StudyError, match=r"mask of case a has the values 7, .* declares \[0, 1\]; mend a.png"
    ):
        data.check()
    picture(tmp_path / "a.png", 1)
    data.check()


def test_a_training_case_that_nnunet_would_stretch_or_not_read_is_refused(data: Data, tmp_path: Path) -> None:
    case = data.training.cases["a"].model_copy(update={"reference": picture(tmp_path / "a.png", 1)})
    data.training = Training(data.training.folders, GRAY, {"a": case})
    Image.fromarray(np.zeros((3, 6), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(StudyError, match=r"mask of case a has the shape \(1, 1, 3, 6\), .* \(1, 1, 4, 6\)"):
        data.check()
    picture(tmp_path / "a.png", 1)
    picture(data.trained, 1, channels=3)
    with pytest.raises(StudyError, match=r"case a has 3 channels"):
        data.check()
    data.trained.write_bytes(b"")
    with pytest.raises(StudyError, match=r"case a cannot be read: .*a_0000.png is empty"):
        data.check()


def test_masks_are_looked_into_once(data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = data.training.cases["a"].model_copy(update={"reference": picture(tmp_path / "a.png", 1)})
    data.training = Training(data.training.folders, GRAY, {"a": case})
    data.check()
    monkeypatch.setattr("nnunet_losses.compare.inspection.mask_values", None)
    files = inspect_files(data.training, (), data.output)
    assert values_by_case(data.training, files) == {"a": {1.0}}


@pytest.mark.parametrize("values", [[0, 1, 255], [0.0, 0.5], [-1.0, 2.0], [3, 70000]])
def test_values_are_those_that_numpy_finds(values: list[float]) -> None:
    assert _values(np.array([values, values], np.float32)) == tuple(values)


def test_damaged_stamps_are_made_anew(data: Data) -> None:
    (data.output / "data.json").write_text('{"training": {')
    assert read_files(data.output) is None
    data.check()
    assert read_files(data.output) is not None
