"""Folder against folder, and the command: results, named problems, files."""

from __future__ import annotations

import csv
import json
from math import isnan

import imageio.v3 as iio
import numpy as np
import pytest
import SimpleITK as sitk
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.metrics import NotComparableError, Options, evaluate_folders
from nnunet_losses.serve.metrics.nnunet_summary import nnunet_summary, nnunet_summary_text

SPACING = (0.5, 1.0, 2.0)  # x, y, z
DATASET = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}, "file_ending": ".nii.gz"}


def write(path, values, *, spacing=SPACING, origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folders(tmp_path):
    """Four cases with labels 0 to 2, one reference with voxels to ignore, one case empty in both."""
    generator = np.random.default_rng(0)
    predictions, references = tmp_path / "predictions", tmp_path / "references"
    for folder in (predictions, references):
        folder.mkdir()
        for case in range(4):
            values = generator.integers(0, 3, (4, 6, 8), dtype=np.uint8) * (case != 2)
            if folder is references and case == 1:
                values[0] = 3
            write(folder / f"case_{case}.nii.gz", values)
    return predictions, references


def described(folder, content=DATASET):
    (folder / "dataset.json").write_text(json.dumps(content))


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_as_nnunet(folders):
    """Every count and mean as nnU-Net 2.8 computes it, with regions and an ignore label."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    predictions, references = folders
    described(predictions)
    evaluation = evaluate_folders(predictions, references)
    ours = nnunet_summary(evaluation)
    regions = {"(1, 2)": (1, 2), "2": 2}
    theirs = [
        compute_metrics(str(references / file.name), str(file), SimpleITKIO(), list(regions.values()), 3)
        for file in sorted(predictions.glob("*.nii.gz"))
    ]
    for mine, stock in zip(ours["metric_per_case"], theirs, strict=True):
        assert (mine["reference_file"], mine["prediction_file"]) == (
            stock["reference_file"],
            stock["prediction_file"],
        )
        for key, region in regions.items():
            assert mine["metrics"][key].keys() == stock["metrics"][region].keys()
            for name, value in stock["metrics"][region].items():
                np.testing.assert_equal(float(mine["metrics"][key][name]), float(value))
    for key, region in regions.items():
        for name, value in ours["mean"][key].items():
            assert value == pytest.approx(np.nanmean([one["metrics"][region][name] for one in theirs]))
    for name, value in ours["foreground_mean"].items():
        assert value == pytest.approx(np.mean([ours["mean"][key][name] for key in regions]))


def test_nnunet_reads_our_summary(folders, tmp_path):
    from nnunetv2.evaluation.evaluate_predictions import load_summary_json

    predictions, references = folders
    described(predictions)
    file = tmp_path / "summary.json"
    file.write_text(nnunet_summary_text(evaluate_folders(predictions, references)))
    read = load_summary_json(str(file))
    assert set(read["mean"]) == {(1, 2), 2}
    assert isnan(read["metric_per_case"][2]["metrics"][2]["Dice"])


def test_processes_change_nothing(folders):
    predictions, references = folders
    described(references.parent)
    one, two = (evaluate_folders(predictions, references, Options(processes=count)) for count in (1, 2))
    assert nnunet_summary_text(one) == nnunet_summary_text(two)


def test_labels_that_occur(folders):
    evaluation = evaluate_folders(*folders)
    assert [label.name for label in evaluation.labels.labels] == ["1", "2", "3"]


def missing(predictions, references):
    (predictions / "case_0.nii.gz").unlink()


def extra(predictions, references):
    (references / "case_0.nii.gz").unlink()


def other_size(predictions, references):
    write(predictions / "case_0.nii.gz", np.zeros((4, 6, 7), np.uint8))


def other_spacing(predictions, references):
    write(predictions / "case_0.nii.gz", np.zeros((4, 6, 8), np.uint8), spacing=(0.5, 1.0, 2.5))


def other_place(predictions, references):
    write(predictions / "case_0.nii.gz", np.zeros((4, 6, 8), np.uint8), origin=(5.0, 0.0, 0.0))


def damaged(predictions, references):
    file = predictions / "case_0.nii.gz"
    file.write_bytes(file.read_bytes()[:60])


def fractions(predictions, references):
    write(predictions / "case_0.nii.gz", np.full((4, 6, 8), 0.5, np.float32))


def other_values(predictions, references):
    write(predictions / "case_0.nii.gz", np.full((4, 6, 8), 255, np.uint8))


PROBLEMS = {
    missing: "case.missing_prediction",
    extra: "case.missing_reference",
    other_size: "case.different_geometry",
    other_spacing: "case.different_geometry",
    other_place: "case.different_geometry",
    damaged: "case.unreadable",
    fractions: "case.not_a_mask",
    other_values: "case.unexpected_values",
}


@pytest.mark.parametrize("damage", PROBLEMS, ids=lambda damage: damage.__name__)
def test_problems_are_named(folders, damage):
    predictions, references = folders
    described(references)
    damage(predictions, references)
    with pytest.raises(NotComparableError) as refused:
        evaluate_folders(predictions, references)
    (problem,) = refused.value.problems
    assert (problem.case, problem.code) == ("case_0", PROBLEMS[damage])
    rest = evaluate_folders(predictions, references, Options(allow_missing=True))
    assert [case.case for case in rest.cases] == ["case_1", "case_2", "case_3"]
    assert rest.problems == (problem,)


def test_the_command_names_problems_and_stops(folders):
    predictions, references = folders
    missing(*folders)
    result = run(predictions, references)
    assert result.exit_code == 1
    assert "case.missing_prediction" in result.stderr
    listed = json.loads(run(predictions, references, "--json").stdout)
    assert [problem["code"] for problem in listed["problems"]] == ["case.missing_prediction"]
    allowed = run(predictions, references, "--allow-missing")
    assert allowed.exit_code == 0
    assert "case.missing_prediction" in allowed.stderr
    assert "3 cases" in allowed.stdout


def test_the_command_writes_files(folders, tmp_path):
    predictions, references = folders
    described(predictions)
    output, summary = tmp_path / "output", tmp_path / "summary.json"
    result = run(predictions, references, "--output", output, "--nnunet-summary", summary)
    assert result.exit_code == 0, result.output
    content = json.loads((output / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert [label["label"] for label in content["summary"]] == ["whole", "core"]
    assert content["problems"] == []
    with (output / "cases.csv").open(newline="") as file:
        cases = list(csv.DictReader(file))
    assert [(row["case"], row["label"]) for row in cases[:2]] == [("case_0", "whole"), ("case_0", "core")]
    assert cases[4]["emptiness"] == "both_empty"
    assert cases[4]["dice"] == ""
    with (output / "summary.csv").open(newline="") as file:
        rows = {(row["label"], row["measure"], row["convention"]): row for row in csv.DictReader(file)}
    nnunet, study = (rows["core", "dice", name] for name in ("nnunet", "study"))
    assert float(study["value"]) == pytest.approx((float(nnunet["value"]) * 3 + 1) / 4)
    assert (nnunet["n"], study["n"]) == ("3", "4")
    assert float(json.loads(summary.read_text())["mean"]["2"]["Dice"]) == pytest.approx(
        float(nnunet["value"])
    )


def test_the_table_shows_conventions_side_by_side(folders):
    described(folders[0])
    result = CliRunner().invoke(app, ["evaluate", *map(str, folders)], env={"COLUMNS": "200"})
    dice = [line for line in result.stdout.splitlines() if " Dice " in line]
    assert any("nnunet, panoptica" in line for line in dice)
    assert any("study, isles22, brats" in line for line in dice)
    assert "specificity" in result.stdout


def test_chosen_labels_and_conventions(folders):
    arguments = ("--label", "both=1,2", "--convention", "study", "--ignore", 3, "--json")
    result = run(*folders, *arguments)
    content = json.loads(result.stdout)
    (summary,) = content["summary"]
    assert summary["label"] == "both"
    assert list(summary["metrics"]["dice"]) == ["study"]
    assert content["ignore"] == 3


def test_scores_and_probabilities(folders, tmp_path):
    """nnU-Net's files give the calibration error; the largest probability is the score by default."""
    generator = np.random.default_rng(1)
    stored = {}
    for case in range(4):
        stored[case] = generator.random((3, 4, 6, 8)).astype(np.float32)
        np.savez_compressed(tmp_path / f"case_{case}.npz", probabilities=stored[case])
    options = ("--label", "core=2", "--json")
    by_maximum = json.loads(run(*folders, *options, "--probabilities", tmp_path).stdout)
    assert [case["score"] for case in by_maximum["cases"]] == [float(one[2].max()) for one in stored.values()]
    assert 0 < by_maximum["summary"][0]["measures"]["expected_calibration_error"]["value"] < 1
    file = tmp_path / "scores.json"
    file.write_text(json.dumps({f"case_{case}": {"core": 0.1 * (case != 2)} for case in range(4)}))
    scored = json.loads(run(*folders, *options, "--scores", file).stdout)
    assert scored["summary"][0]["measures"]["presence_auroc"]["value"] == 1
    (tmp_path / "case_1.npz").unlink()
    lacking = run(*folders, *options, "--probabilities", tmp_path)
    assert lacking.exit_code == 1
    assert "case.probabilities" in lacking.stdout


def test_pictures_are_measured_in_pixels(tmp_path):
    for name, shift in (("predictions", 1), ("references", 0)):
        (tmp_path / name).mkdir()
        picture = np.zeros((20, 20), np.uint8)
        picture[5:10, 5 + shift : 10 + shift] = 255
        iio.imwrite(tmp_path / name / "polyp.png", picture)
    content = json.loads(run(tmp_path / "predictions", tmp_path / "references", "--json").stdout)
    assert content["settings"]["units"]["volume"] == "pixels"
    (case,) = content["cases"]
    assert (case["label"], case["reference_volume"], case["hd95"], case["nsd"]) == ("255", 25, 1, 1)
    assert case["dice"] == 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--label", "lesion"), "not of the form"),
        (("--convention", "nnUNet"), "is unknown"),
        (("--ignore", 3), "needs --label"),
        (("--label", "a=1", "--label", "a=2"), "a name of its own"),
    ],
)
def test_wrong_options_are_refused(folders, arguments, message):
    result = CliRunner().invoke(app, ["evaluate", *map(str, (*folders, *arguments))], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.stderr


def test_folders_without_masks_are_refused(folders, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="holds no masks"):
        evaluate_folders(tmp_path / "nothing", folders[1])
    for file in folders[0].glob("*.nii.gz"):
        write(file, np.zeros((4, 6, 8), np.uint8))
    with pytest.raises(ValueError, match="all masks are empty"):
        evaluate_folders(folders[0], folders[0])


def test_two_files_of_one_case_are_refused(folders):
    write(folders[0] / "case_0.mha", np.zeros((4, 6, 8), np.uint8))
    with pytest.raises(ValueError, match="keep one of them"):
        evaluate_folders(*folders)
