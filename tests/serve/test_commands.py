"""``nnunet-losses predict`` and ``inspect``: files, tables, exit codes, and no PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app

from .formats.files import cut, noise, write

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from nnunet_losses.serve.bundle import Bundle

SHAPE = (20, 24, 22)
GEOMETRY = {"spacing": (1.0, 1.0, 1.0)}


def run(*arguments: object) -> Result:
    options = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=options)


def predict(bundle: Bundle, *arguments: object) -> Result:
    return run("predict", bundle.root, *arguments, "--backend", "cpu", "--threads", 1)


def image(folder: Path, name: str, voxels: np.ndarray | None = None) -> Path:
    return write(folder / name, noise(SHAPE) if voxels is None else voxels, **GEOMETRY)


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def outcome(file: Path) -> str:
    answer: dict[str, Any] = json.loads(file.read_text())
    return str(answer["outcome"])


def test_a_folder(volume_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a_0000.nii.gz", "b_0000.nii.gz"):
        image(tmp_path / "in", name)
    result = predict(volume_bundle, tmp_path / "in", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert content(tmp_path / "out") == {"a.nii.gz", "a.json", "b.nii.gz", "b.json"}
    assert (tmp_path / "out" / "a.nii.gz").read_bytes() == (tmp_path / "out" / "b.nii.gz").read_bytes()
    assert "2 cases" in result.stdout


def test_one_broken_file_does_not_stop_the_rest(volume_bundle: Bundle, tmp_path: Path) -> None:
    cut(image(tmp_path, "a_0000.nii.gz"), 0.5)
    blank = image(tmp_path, "b_0000.nii.gz", np.zeros(SHAPE))
    good = image(tmp_path, "c_0000.nii.gz")
    notes = tmp_path / "notes.txt"
    notes.touch()
    absent = tmp_path / "d_0000.nii.gz"
    result = predict(
        volume_bundle, tmp_path / "a_0000.nii.gz", blank, good, notes, absent, "-o", tmp_path / "out"
    )
    assert result.exit_code == 1
    out = tmp_path / "out"
    assert content(out) == {
        "a.problem.json", "b.json", "c.json", "c.nii.gz", "d.problem.json", "notes.txt.problem.json",
    }  # fmt: skip
    assert json.loads((out / "a.problem.json").read_text())["code"] == "input.truncated"
    assert (outcome(out / "b.json"), outcome(out / "c.json")) == ("rejected", "segmented")
    for word in ("input.truncated", "contract.blank", "input.missing", "segmented", "rejected", "failed"):
        assert word in result.stdout


def test_a_rejection_is_3(volume_bundle: Bundle, tmp_path: Path) -> None:
    files = [image(tmp_path, "a.nii.gz"), image(tmp_path, "b.nii.gz", np.full(SHAPE, 5.0))]
    assert predict(volume_bundle, *files, "-o", tmp_path / "out").exit_code == 3


def test_a_missing_channel_is_rejected_by_name(region_bundle: Bundle, tmp_path: Path) -> None:
    files = [image(tmp_path, name) for name in ("a_0000.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz")]
    result = predict(region_bundle, *files, "-o", tmp_path / "out")
    assert result.exit_code == 3
    answer = json.loads((tmp_path / "out" / "a.json").read_text())
    assert answer["problem"]["code"] == "contract.channel_count"
    assert "FLAIR (a_0001.nii.gz)" in answer["problem"]["detail"]
    assert outcome(tmp_path / "out" / "b.json") == "segmented"


def test_channels_by_name(region_bundle: Bundle, tmp_path: Path) -> None:
    first, second = image(tmp_path, "x.nii.gz"), image(tmp_path, "y.mha", noise(SHAPE, seed=1))
    named = ("--channel", f"flair={second}", "--channel", f"T1={first}")
    result = predict(region_bundle, *named, "--case", "patient", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    first.rename(tmp_path / "n_0000.nii.gz")
    write(tmp_path / "n_0001.nii.gz", noise(SHAPE, seed=1), **GEOMETRY)
    files = [tmp_path / "n_0000.nii.gz", tmp_path / "n_0001.nii.gz"]
    assert predict(region_bundle, *files, "-o", tmp_path / "out").exit_code == 0
    out = tmp_path / "out"
    assert (out / "patient.nii.gz").read_bytes() == (out / "n.nii.gz").read_bytes()
    regions = json.loads((out / "n.json").read_text())["labels"]
    assert [label["name"] for label in regions] == ["whole", "core"]
    assert regions[0]["voxels"] >= regions[1]["voxels"]


def test_pictures(rgb_bundle: Bundle, tmp_path: Path) -> None:
    import imageio.v3 as iio

    iio.imwrite(tmp_path / "a_0000.png", np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    result = predict(rgb_bundle, tmp_path / "a_0000.png", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert iio.imread(tmp_path / "out" / "a.png").shape == (40, 50)
    assert all(
        label["volume_ml"] is None
        for label in json.loads((tmp_path / "out" / "a.json").read_text())["labels"]
    )


def test_json_for_programs(volume_bundle: Bundle, tmp_path: Path) -> None:
    files = [image(tmp_path, "a.nii.gz"), cut(image(tmp_path, "b.nii.gz"), 0.5)]
    result = predict(volume_bundle, *files, "-o", tmp_path / "out", "--json")
    printed = json.loads(result.stdout)
    assert printed["exit_code"] == result.exit_code == 1
    first, second = printed["cases"]
    assert (first["outcome"], first["mask"]) == ("segmented", str(tmp_path / "out" / "a.nii.gz"))
    assert (second["outcome"], second["problem"]["code"]) == (None, "input.truncated")


def test_earlier_answers_are_kept_on_demand(volume_bundle: Bundle, tmp_path: Path) -> None:
    files = [image(tmp_path, "a.nii.gz"), image(tmp_path, "b.nii.gz", np.zeros(SHAPE))]
    assert predict(volume_bundle, *files, "-o", tmp_path / "out").exit_code == 3
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    result = predict(volume_bundle, *files, "-o", tmp_path / "out", "--no-overwrite", "--json")
    assert result.exit_code == 3
    assert [case["kept"] for case in json.loads(result.stdout)["cases"]] == [True, True]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    (tmp_path / "out" / "a.nii.gz").unlink()  # an answer without its mask is no answer
    result = predict(volume_bundle, *files, "-o", tmp_path / "out", "--no-overwrite", "--json")
    assert [case["kept"] for case in json.loads(result.stdout)["cases"]] == [False, True]


def test_a_failure_removes_what_an_earlier_run_left(volume_bundle: Bundle, tmp_path: Path) -> None:
    file = image(tmp_path, "a.nii.gz")
    assert predict(volume_bundle, file, "-o", tmp_path / "out").exit_code == 0
    assert predict(volume_bundle, cut(file, 0.5), "-o", tmp_path / "out").exit_code == 1
    assert content(tmp_path / "out") == {"a.problem.json"}
    image(tmp_path, "a.nii.gz")
    assert predict(volume_bundle, file, "-o", tmp_path / "out").exit_code == 0
    assert content(tmp_path / "out") == {"a.json", "a.nii.gz"}


def test_wrong_command_lines(region_bundle: Bundle, tmp_path: Path) -> None:
    file = image(tmp_path, "a_0000.nii.gz")
    out = ("-o", tmp_path / "out")
    wrong: list[tuple[tuple[object, ...], str]] = [
        (out, "one of the two"),
        ((file, "--channel", f"T1={file}", *out), "one of the two"),
        ((file, "--case", "x", *out), "--channel"),
        (("--channel", "T1", *out), "NAME=FILE"),
        (("--channel", f"T1={file}", "--channel", f"T2={file}", *out), "T1, FLAIR"),
        (("--channel", f"T1={file}", *out), "'FLAIR' is missing"),
        (("--channel", f"T1={file}", "--channel", f"FLAIR={file}", "--case", "../x", *out), "file's name"),
        ((file,), "--output"),
        ((file, *out, "--threads", 0), "--threads"),
    ]
    for arguments, message in wrong:
        result = run("predict", region_bundle.root, *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert message in result.stderr, (arguments, result.stderr)
    assert not (tmp_path / "out").exists()


def test_a_mask_never_takes_the_place_of_its_image(volume_bundle: Bundle, tmp_path: Path) -> None:
    file = image(tmp_path, "a.nii.gz")
    before = file.read_bytes()
    result = predict(volume_bundle, file, "-o", tmp_path)
    assert result.exit_code == 2
    assert "overwrite" in result.stderr
    assert file.read_bytes() == before


def test_an_output_folder_that_cannot_be(volume_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = predict(volume_bundle, image(tmp_path, "a.nii.gz"), "-o", tmp_path / "file" / "out")
    assert result.exit_code == 2


@pytest.mark.parametrize("command", ["predict", "inspect"])
@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_no_bundle(tmp_path: Path, command: str, as_json: bool) -> None:
    rest = ["-o", tmp_path / "out", image(tmp_path, "a.nii.gz")] if command == "predict" else []
    result = run(command, tmp_path, *rest, *(["--json"] if as_json else []))
    assert result.exit_code == 2
    if as_json:
        assert json.loads(result.stdout)["problem"]["code"] == "bundle.unreadable"
    else:
        assert "bundle.unreadable" in result.stderr


def test_an_empty_folder(volume_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    result = predict(volume_bundle, tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "input.missing" in result.stderr


def test_inspect(region_bundle: Bundle) -> None:
    result = run("inspect", region_bundle.root)
    assert result.exit_code == 0
    words = (
        "whole",
        "core",
        "T1",
        "FLAIR",
        "ZScoreNormalization, nonzero region only",
        "0 (",
        ", 1 (",
        "16 x 24 x 16",
        "all as listed in SHA256SUMS",
        "order 3",
        "one threshold for each region",
        "part of the answer",
    )
    for word in (*words, region_bundle.sha256, "not verified", "none: answers carry no guarantee"):
        assert word in result.stdout


def test_inspect_for_programs(region_bundle: Bundle) -> None:
    printed = json.loads(run("inspect", region_bundle.root, "--json").stdout)
    assert printed.pop("bundle_sha256") == region_bundle.sha256
    assert printed.pop("damage") is None
    files = printed.pop("files")
    assert files["model.json"] == (region_bundle.root / "model.json").stat().st_size
    assert {fold.file for member in region_bundle.description.members for fold in member.folds} < files.keys()
    assert (printed.pop("calibration"), printed.pop("site")) == (None, None)
    assert printed == region_bundle.description.model_dump(mode="json")


def test_inspect_says_what_was_changed(region_bundle: Bundle, tmp_path: Path) -> None:
    import shutil

    copy = shutil.copytree(region_bundle.root, tmp_path / "copy")
    (copy / "MODEL_CARD.md").write_text("better than it is")
    result = run("inspect", copy)
    assert result.exit_code == 1
    assert "DAMAGED: MODEL_CARD.md is not the file" in " ".join(result.stdout.split())
    printed = run("inspect", copy, "--json")
    assert printed.exit_code == 1
    assert json.loads(printed.stdout)["damage"]["code"] == "bundle.hash_mismatch"
    (copy / "SHA256SUMS").unlink()
    assert json.loads(run("inspect", copy, "--json").stdout)["bundle_sha256"] is None


def test_no_pytorch_in_the_process(volume_bundle: Bundle, tmp_path: Path) -> None:
    arguments = [
        "nnunet-losses",
        "predict",
        volume_bundle.root,
        image(tmp_path, "a.nii.gz"),
        "-o",
        tmp_path / "out",
    ]
    script = (
        f"import sys; sys.argv = {[str(argument) for argument in arguments]!r}\n"
        "from nnunet_losses.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "print(sorted({'torch', 'nnunetv2', 'skimage', 'batchgenerators'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""
    assert content(tmp_path / "out") == {"a.json", "a.nii.gz"}
