"""What can be asked for, and what is refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnunet_losses.compare.folders import NnunetFolders
from nnunet_losses.compare.prediction import drop_probabilities, predict_set
from nnunet_losses.compare.preparation import Prepared, _check_sets, _validation, find_source
from nnunet_losses.compare.sets import (
    Case,
    ImageSet,
    Role,
    empty_references,
    image_cases,
    labelled_set,
    read_description,
)
from nnunet_losses.compare.study import (
    PREPARED_FILE,
    Settings,
    Study,
    StudyError,
    loss_configuration,
    read_study,
)

SETTINGS = Settings(dataset="Dataset001_A", configuration="2d", epochs=2)
PNG = {"file_ending": ".png"}


def study(*losses: str, seeds: int = 1, settings: Settings = SETTINGS) -> Study:
    return Study(settings=settings, losses=losses, folds=(0, 1), seeds=tuple(range(seeds)))


def test_every_loss_runs_once_before_any_runs_twice() -> None:
    cells = study("ce", "dice", seeds=2).cells
    assert [(cell.loss, cell.fold, cell.seed) for cell in cells[:5]] == [
        ("ce", 0, 0), ("dice", 0, 0), ("ce", 1, 0), ("dice", 1, 0), ("ce", 0, 1)]  # fmt: skip
    assert len({cell.name for cell in cells}) == 8


def test_a_later_run_adds_and_forgets_nothing(tmp_path: Path) -> None:
    study("ce", seeds=2).write(tmp_path)
    joined = study("dice", "ce").joined(read_study(tmp_path))
    assert (joined.losses, joined.seeds) == (("ce", "dice"), (0, 1))


def test_other_settings_are_not_mixed() -> None:
    longer = SETTINGS.model_copy(update={"epochs": 3})
    with pytest.raises(StudyError, match=r"epochs was 2, now 3"):
        study("ce", settings=longer).joined(study("ce"))


def test_a_loss_is_not_compared_with_itself() -> None:
    with pytest.raises(ValueError, match=r"dice and Dice are the same loss"):
        study("dice", "ce", "Dice")
    with pytest.raises(ValueError, match=r"Dice and dice are the same loss"):
        study("dice").joined(study("Dice"))


def test_folds_are_not_negative() -> None:
    with pytest.raises(ValueError, match=r"folds are \[0, -1\]; they are counted from 0"):
        Study(settings=SETTINGS, losses=("ce",), folds=(0, -1), seeds=(0,))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "has no labels, file_ending"),
        ('{"labels": {"a": 1}}', "has no file_ending"),
    ],
)
def test_a_damaged_description_is_named(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(StudyError, match=words):
        read_description(tmp_path)


@pytest.mark.parametrize("loss", ["dize", "Dice_5epochs", "Dice_NoMirroring", ""])
def test_unknown_losses_are_refused(loss: str) -> None:
    with pytest.raises(StudyError, match=r"loss|names"):
        loss_configuration(loss)


def test_a_loss_that_was_misspelt_is_guessed() -> None:
    with pytest.raises(StudyError, match=r"'Dize_CE' is unknown .* did you mean dice_ce or "):
        loss_configuration("Dize_CE")


def test_a_damaged_or_missing_study_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"holds no study.json"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(StudyError, match=r"damaged"):
        read_study(tmp_path)


def test_two_data_sets_do_not_share_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset.json").write_text(json.dumps(PNG))
    folders, name = find_source(str(tmp_path / "a"), tmp_path / "out")
    assert (name, (folders.raw / name).resolve()) == ("Dataset001_a", (tmp_path / "a").resolve())
    assert find_source(str(tmp_path / "a"), tmp_path / "out") == (folders, name)
    (tmp_path / "c").mkdir()
    (tmp_path / "a").rename(tmp_path / "c" / "a")
    assert find_source(str(tmp_path / "c" / "a"), tmp_path / "out") == (folders, name), (
        "nothing was made of it"
    )
    folders.preprocessed.mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "dataset.json").touch()
    with pytest.raises(StudyError, match=r"holds a comparison on .*c/a; take another folder for .*/a"):
        find_source(str(tmp_path / "a"), tmp_path / "out")


def test_cells_judged_on_other_images_are_not_mixed(tmp_path: Path) -> None:
    def images(role: Role, *names: str, fold: int | None = None) -> ImageSet:
        cases = tuple(Case(name=name, images=(tmp_path / f"{name}_0000.png",)) for name in names)
        return ImageSet(role=role, cases=cases, fold=fold)

    validation, test = images(Role.VALIDATION, "a", fold=0), images(Role.TEST, "t")
    folders = NnunetFolders(raw=tmp_path, preprocessed=tmp_path)
    prepared = Prepared(folders=folders, plans="nnUNetPlans", sets=(validation, test))
    (tmp_path / PREPARED_FILE).write_text(prepared.model_dump_json())
    others = ((validation, images(Role.TEST, "u")), (validation,), (validation, test, images(Role.OOD, "o")))
    for sets in others:
        _check_sets(sets, tmp_path)  # nothing was judged yet
    (tmp_path / "cells" / "dice__fold_0__seed_0").mkdir(parents=True)
    (tmp_path / "cells" / "dice__fold_0__seed_0" / "result.json").touch()
    _check_sets((validation, images(Role.VALIDATION, "b", fold=1), test), tmp_path)  # a fold more
    for sets in others:
        with pytest.raises(StudyError, match=r"judged on other images \((test|ood)\)"):
            _check_sets(sets, tmp_path)
    (tmp_path / PREPARED_FILE).write_text('{"folders": {')
    _check_sets(others[0], tmp_path)  # nothing is known of earlier ones


def test_a_run_that_was_killed_between_judging_and_its_result_predicts_again(tmp_path: Path) -> None:
    class Predictor:
        calls = 0

        def predict_from_files_sequential(self, _: object, outputs: list[str], **__: object) -> None:
            self.calls += 1
            for output in outputs:
                Path(f"{output}.npz").touch()
                Path(f"{output}.png").touch()

    made, target = Predictor(), tmp_path / "masks"
    images = ImageSet(role=Role.TEST, cases=(Case(name="t", images=(tmp_path / "t_0000.png",)),))
    images.cases[0].images[0].touch()
    for _ in range(2):
        predict_set(made, images, target)
    assert made.calls == 1
    drop_probabilities(target)
    predict_set(made, images, target)
    assert made.calls == 2
    assert sorted(file.name for file in target.glob("[!.]*")) == ["t.npz", "t.png"]
    images.cases[0].images[0].write_bytes(b"another image")
    predict_set(made, images, target)
    assert made.calls == 3


def test_images_need_names_and_references(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"neither imagesTs"):
        labelled_set(tmp_path, PNG)
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    with pytest.raises(StudyError, match=r"CASE_0000.png"):
        labelled_set(tmp_path, PNG)
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "images" / "a_0000.png")
    with pytest.raises(StudyError, match=r"has no reference"):
        labelled_set(tmp_path, PNG)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"train": ["a"], "val": []}, r"fold 0 of splits_final.json has no case in val; write some"),
        ({"train": ["a", "gone"], "val": ["a"]}, r"has gone in fold 0, which the raw data set lacks"),
    ],
)
def test_folds_that_cannot_be_judged_are_refused(split: dict[str, list[str]], words: str) -> None:
    case = Case(name="a", images=())
    (accepted,) = _validation([{"train": ["a"], "val": ["a"]}], (0,), {"a": case})
    assert (accepted.fold, accepted.cases) == (0, (case,))
    with pytest.raises(StudyError, match=words):
        list(_validation([split], (0,), {"a": case}))


def test_empty_references_lie_on_the_images_grid(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a_0000.png")
    (case,) = empty_references(image_cases(tmp_path, PNG, None), tmp_path / "empty", ".png")
    assert case.reference is not None
    mask = np.array(Image.open(case.reference))
    assert mask.shape == (4, 6)
    assert not mask.any()
