"""Folders as people have them: what is beside the masks, and what the masks should not hold."""

from __future__ import annotations

import json

import imageio.v3 as iio
import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.metrics import NotComparableError, Options, evaluate_folders

LESION = np.zeros((3, 6, 6), np.uint8)
LESION[1, 1:4, 1:4] = 1


def write(path, values, *, origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(values)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folders(tmp_path):
    """One case, its name with a space, no dataset.json."""
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for folder in (predictions, references):
        write(folder / "case one.nii.gz", LESION)
    return predictions, references


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200"})


def test_what_nnunet_leaves_beside_predictions_is_no_case(folders):
    predictions = folders[0]
    for name in ("plans.json", "summary.json", "predict_from_raw_data_args.json", "notes.txt", ".a.nii.gz"):
        (predictions / name).write_text("{}")
    np.savez(predictions / "case one.npz", probabilities=np.zeros((2, *LESION.shape)))
    (predictions / "folder.nii.gz").mkdir()
    assert [case.case for case in evaluate_folders(*folders).cases] == ["case one"]


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii"])
@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32", "float64"])
def test_any_volume_and_number_type(folders, ending, kind):
    (folders[0] / "case one.nii.gz").unlink()
    write(folders[0] / f"case one{ending}", LESION.astype(kind))
    assert evaluate_folders(*folders).cases[0].labels["1"].counts.dice == 1


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e20, 2.0**24, 0.5])
def test_values_that_are_no_labels_are_named(folders, value, ending):
    """Not as an empty mask, and without asking for labels first."""
    (folders[0] / "case one.nii.gz").unlink()
    write(folders[0] / f"case one{ending}", np.where(LESION, value, 0))
    with pytest.raises(NotComparableError) as refused:
        evaluate_folders(*folders)
    assert [problem.code for problem in refused.value.problems] == ["case.not_a_mask"]


@pytest.mark.parametrize(("shift", "accepted"), [(0.49, True), (0.5, False), (1.0, False)])
def test_masks_apart_in_space(folders, shift, accepted):
    """The only case is on another grid: that is the error, not that there are no labels."""
    write(folders[0] / "case one.nii.gz", LESION, origin=(shift, 0.0, 0.0))
    if accepted:
        assert evaluate_folders(*folders).cases
        return
    with pytest.raises(NotComparableError) as refused:
        evaluate_folders(*folders)
    assert [problem.code for problem in refused.value.problems] == ["case.different_geometry"]


def test_a_slice_is_no_volume(folders):
    write(folders[0] / "case one.nii.gz", LESION[1])
    write(folders[1] / "case one.nii.gz", LESION[1:2])
    with pytest.raises(NotComparableError) as refused:
        evaluate_folders(*folders)
    assert "2 axes, the reference 3" in refused.value.problems[0].detail


def test_links_are_followed_and_those_to_nowhere_named(folders, tmp_path):
    file, target = folders[0] / "case one.nii.gz", tmp_path / "elsewhere.nii.gz"
    file.rename(target)
    file.symlink_to(target)
    assert evaluate_folders(*folders).cases[0].labels["1"].counts.dice == 1
    target.unlink()
    with pytest.raises(NotComparableError) as refused:
        evaluate_folders(*folders)
    (problem,) = refused.value.problems
    assert problem.code == "case.unreadable"
    assert "does not exist" in problem.detail


def test_labels_of_the_dataset_above_the_current_folder(folders, monkeypatch):
    labels = {"labels": {"background": 0, "lesion": 1}}
    (folders[1].parent / "dataset.json").write_text(json.dumps(labels))
    monkeypatch.chdir(folders[1])
    from pathlib import Path

    assert "lesion" in evaluate_folders(folders[0], Path()).cases[0].labels


def test_a_case_that_is_ignored_everywhere_is_none(folders):
    """It would be lesion-free, with a specificity of 1."""
    for folder in folders:
        write(folder / "second.nii.gz", LESION)
    write(folders[1] / "second.nii.gz", np.full_like(LESION, 2))
    description = {"labels": {"background": 0, "lesion": 1, "ignore": 2}}
    found = evaluate_folders(*folders, Options(description=description, allow_missing=True))
    assert [problem.code for problem in found.problems] == ["case.nothing_to_evaluate"]
    assert [case.case for case in found.cases] == ["case one"]


def test_colours_are_no_mask(tmp_path):
    for name, values in (("p", np.zeros((5, 5, 3), np.uint8)), ("r", np.eye(5, dtype=np.uint8))):
        (tmp_path / name).mkdir()
        iio.imwrite(tmp_path / name / "a.png", values)
    result = run(tmp_path / "p", tmp_path / "r")
    assert result.exit_code == 1
    assert "case.not_a_mask" in result.stderr


def test_the_command_doubts_values_that_differ(folders):
    write(folders[0] / "case one.nii.gz", LESION * 255)
    assert "Only predictions hold 255, only references 1" in run(*folders).stderr
    result = run(*folders, "--label", "lesion=7")
    assert "No mask holds 'lesion', which is [7]." in result.stderr
    assert json.loads(run(*folders, "--label", "lesion=7", "--json").stdout)["notes"]


def test_scores_of_other_names_are_refused(folders, tmp_path):
    file = tmp_path / "scores.json"
    for wrong in ({"case 1": {"1": 0.5}}, {"case one": {"lesion": 0.5}}):
        file.write_text(json.dumps(wrong))
        result = run(*folders, "--scores", file)
        assert result.exit_code == 2
        assert "none of the scores is of a case (case one" in result.stderr


def test_given_scores_are_not_mixed_with_probabilities(folders, tmp_path):
    for folder in folders:
        write(folder / "two.nii.gz", LESION)
    for case in ("case one", "two"):
        np.savez(tmp_path / f"{case}.npz", probabilities=np.full((2, *LESION.shape), 0.5))
    file = tmp_path / "scores.json"
    file.write_text('{"two": {"1": 3.5}}')
    result = run(*folders, "--scores", file, "--probabilities", tmp_path, "--json")
    content = json.loads(result.stdout)
    assert [case["score"] for case in content["cases"]] == [None, 3.5]
    assert content["notes"] == ["1 of 2 cases have no score for '1'; AUROC leaves them out."]


def test_ignored_voxels_have_no_score(folders, tmp_path):
    write(folders[1] / "case one.nii.gz", np.where(LESION, 2, 0).astype(np.uint8))
    np.savez(tmp_path / "case one.npz", probabilities=np.where(LESION, 0.9, 0.2)[None].repeat(2, 0))
    options = ("--label", "lesion=1", "--ignore", 2, "--probabilities", tmp_path, "--json")
    (case,) = json.loads(run(*folders, *options).stdout)["cases"]
    assert (case["score"], case["fp"]) == (0.2, 0)


def test_one_value_is_not_label_and_ignored(folders):
    result = run(*folders, "--label", "lesion=1", "--ignore", 1)
    assert result.exit_code == 2
    assert "ignore label and a value of 'lesion'" in result.stderr


def test_the_summary_makes_its_folder(folders, tmp_path):
    file = tmp_path / "new" / "summary.json"
    assert run(*folders, "--nnunet-summary", file).exit_code == 0
    assert file.is_file()
