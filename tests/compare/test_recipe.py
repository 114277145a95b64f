"""Plans and splits that change between two runs in the same folder are noticed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.compare.inspection import begun_folds
from nnunet_losses.compare.recipe import RECIPE_FILE, check_recipe, read_recipe, write_recipe
from nnunet_losses.compare.study import Settings, StudyError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

SETTINGS = Settings(dataset="Dataset001_A", configuration="2d_small")
SPLITS = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["b", "c"], "val": ["a"]}]


def plans() -> dict[str, Any]:
    configurations = {
        "2d": {"patch_size": [32, 32], "architecture": {"features": [8, 16]}},
        "2d_small": {"inherits_from": "2d", "batch_size": 2},
        "3d_fullres": {"patch_size": [8, 32, 32]},
    }
    return {"plans_name": "nnUNetPlans", "configurations": configurations}


class Nnunet:
    """Its folder of a data set, and an output folder with a cell of fold 0."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder / "preprocessed", folder / "out"
        for one in (self.folder, self.output):
            one.mkdir()
        self.write(plans(), SPLITS)

    def write(self, plans: dict[str, Any], splits: list[dict[str, list[str]]]) -> None:
        (self.folder / "nnUNetPlans.json").write_text(json.dumps(plans))
        (self.folder / "splits_final.json").write_text(json.dumps(splits))

    def note(self, *, begun: bool = False) -> bool:
        splits = json.loads((self.folder / "splits_final.json").read_text())
        return write_recipe(self.folder, SETTINGS, splits, self.output, begun=begun).late

    def check(self, folds: Collection[int] = (0,)) -> None:
        check_recipe(self.folder, SETTINGS, folds, self.output)


@pytest.fixture
def nnunet(tmp_path: Path) -> Nnunet:
    return Nnunet(tmp_path)


def test_other_plans_are_named_with_what_they_were(nnunet: Nnunet) -> None:
    nnunet.note()
    changed = plans()
    changed["configurations"]["2d"]["architecture"]["features"] = [8, 32]
    changed["configurations"]["2d"]["normalization"] = ["a long name of a normalization scheme"] * 2
    nnunet.write(changed, SPLITS)
    words = (
        r"nnUNetPlans.json .*\(architecture.features was \[8, 16\], now \[8, 32\]; normalization changed\)"
    )
    with pytest.raises(
        StudyError, match=words + rf"; restore it .*{RECIPE_FILE} .* 'plans'\), or take another"
    ):
        nnunet.check()


def test_what_no_cell_reads_may_change(nnunet: Nnunet) -> None:
    """Another configuration, the order of keys, white space, and a fold that is not trained."""
    nnunet.note()
    changed = dict(reversed(plans().items()))
    changed["configurations"]["3d_fullres"]["patch_size"] = [1, 1, 1]
    nnunet.write(changed, [SPLITS[0], {"train": ["b"], "val": ["a", "c"]}, SPLITS[1]])
    (nnunet.folder / "nnUNetPlans.json").write_text(json.dumps(changed, indent=9))
    nnunet.check()
    nnunet.check([])


@pytest.mark.parametrize(
    ("fold", "words"),
    [
        ({"train": ["a", "c"], "val": ["c"]}, r"fold 0: train had b, and has c\)"),
        ({"train": ["a", "b"], "val": ["c", "d"]}, r"fold 0: val has d\)"),
        ({"train": ["b", "a"], "val": ["c"]}, r"fold 0: train is in another order\)"),
    ],
)
def test_other_splits_are_named_with_their_cases(
    nnunet: Nnunet, fold: dict[str, list[str]], words: str
) -> None:
    nnunet.note()
    nnunet.write(plans(), [fold, SPLITS[1]])
    with pytest.raises(
        StudyError, match=rf"splits_final.json is no longer .*{words}; restore it .* 'splits'"
    ):
        nnunet.check()
    nnunet.check([1])
    (nnunet.folder / "splits_final.json").write_text("[]")
    with pytest.raises(StudyError, match=r"fold 0: train had a, b; fold 0: val had c"):
        nnunet.check()


def test_what_is_missing_or_damaged_is_made_anew_before_it_is_compared(nnunet: Nnunet) -> None:
    nnunet.note()
    (nnunet.folder / "nnUNetPlans.json").write_text('{"conf')
    (nnunet.folder / "splits_final.json").unlink()
    nnunet.check()


def test_a_folder_of_an_earlier_version_goes_on_and_says_so_ever_after(nnunet: Nnunet) -> None:
    nnunet.check()
    assert nnunet.note(begun=True)
    assert nnunet.note(begun=True)
    nnunet.write({**plans(), "plans_name": "others"}, SPLITS)
    with pytest.raises(StudyError, match=r'plans_name was "nnUNetPlans", now "others"'):
        nnunet.check()


def test_nothing_is_doubted_of_a_folder_that_was_noted_before_its_cells(nnunet: Nnunet) -> None:
    assert not nnunet.note()
    assert not nnunet.note(begun=True)
    (nnunet.output / RECIPE_FILE).write_text('{"plans')
    assert read_recipe(nnunet.output) is None
    assert nnunet.note(begun=True)
    assert not nnunet.note(), "its cells were deleted"


def test_cells_have_begun_that_train_or_have_a_result(tmp_path: Path) -> None:
    cells = tmp_path / "cells"
    assert not begun_folds(tmp_path)
    for name in ("dice__fold_1__seed_0", "ce__fold_12__seed_3", "waiting__fold_2__seed_0"):
        (cells / name).mkdir(parents=True)
    (cells / "dice__fold_1__seed_0" / "nnunet").mkdir()
    (cells / "ce__fold_12__seed_3" / "result.json").touch()
    assert begun_folds(tmp_path) == {1, 12}
