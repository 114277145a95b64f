"""Which files make up which case."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Case, Incomplete, case_from_channels, find_cases

from ..models import channel, description, rgb_description
from .files import refusal_code

if TYPE_CHECKING:
    from nnunet_losses.serve.schema import ModelDescription

TWO = description(channel("T1"), channel("FLAIR"))
ONE = description()


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).touch()
    return [folder / name for name in names]


def names(cases: list[Case | Incomplete]) -> list[str]:
    return [case.name for case in cases]


def test_a_folder_as_nnunet_names_it(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b_0001.nii.gz",
        "b_0000.nii.gz",
        "a_x_0000.nii.gz",
        "a_x_0001.nii.gz",
        "dataset.json",
        ".x.nii.gz",
    )
    first, second = find_cases([tmp_path], TWO)
    assert isinstance(first, Case)
    assert isinstance(second, Case)
    assert (first.name, second.name) == ("a_x", "b")
    assert [file.name for file in second.files] == ["b_0000.nii.gz", "b_0001.nii.gz"]


def test_as_nnunet_finds_them(tmp_path: Path) -> None:
    from nnunetv2.utilities.utils import get_identifiers_from_splitted_dataset_folder

    touch(tmp_path, "b_0001.nii.gz", "b_0000.nii.gz", "a_0001_0000.nii.gz", "a_0001_0001.nii.gz")
    expected = get_identifiers_from_splitted_dataset_folder(str(tmp_path), ".nii.gz")
    assert names(find_cases([tmp_path], TWO)) == list(expected)


def test_files_and_folders_together(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    touch(tmp_path / "sub", "c_0000.nii.gz")
    files = touch(tmp_path, "a_0000.mha", "b_0000.nii")
    assert names(find_cases([*files, tmp_path / "sub"], ONE)) == ["a", "b", "c"]


def test_a_folder_with_another_ending(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nrrd", "b_0000.mha")
    assert names(find_cases([tmp_path], ONE)) == ["a", "b"]
    touch(tmp_path, "c_0000.nii.gz")
    assert names(find_cases([tmp_path], ONE)) == ["c"]


@pytest.mark.parametrize("name", ["patient.nii.gz", "patient_12.nii.gz", "patient_00001.nii.gz"])
def test_one_channel_needs_no_number(tmp_path: Path, name: str) -> None:
    (case,) = find_cases(touch(tmp_path, name), ONE)
    assert case == Case(name.removesuffix(".nii.gz"), (tmp_path / name,))


def test_a_picture_is_one_file_of_three_channels(tmp_path: Path) -> None:
    files = touch(tmp_path, "a_0000.png", "b.png", "c_0000.png", "c_0001.png", "c_0002.png")
    cases = find_cases(files, rgb_description())
    assert [(case.name, len(case.files)) for case in cases if isinstance(case, Case)] == [
        ("a", 1),
        ("b", 1),
        ("c", 3),
    ]


def test_a_missing_channel_is_named(tmp_path: Path) -> None:
    files = touch(tmp_path, "a_0001.nii.gz", "b_0000.nii.gz", "b_0001.nii.gz")
    incomplete, whole = find_cases(files, TWO)
    assert isinstance(incomplete, Incomplete)
    assert isinstance(whole, Case)
    assert incomplete.refusal.code is Code.CONTRACT_CHANNEL_COUNT
    assert incomplete.refusal.detail == "Case a is not complete: missing T1 (a_0000.nii.gz)."


def test_a_channel_too_many_is_named(tmp_path: Path) -> None:
    (case,) = find_cases(touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz"), ONE)
    assert isinstance(case, Incomplete)
    assert "a_0001.nii.gz" in case.refusal.detail


def test_two_channels_need_a_number(tmp_path: Path) -> None:
    (case,) = find_cases(touch(tmp_path, "a.nii.gz"), TWO)
    assert isinstance(case, Incomplete)
    assert case.refusal.code is Code.CONTRACT_CHANNEL_NAME
    assert "0001 = FLAIR" in case.refusal.remedy


def test_another_kind_of_file_does_not_stop_the_rest(tmp_path: Path) -> None:
    whole, other = find_cases(touch(tmp_path, "notes.txt", "a_0000.nii.gz"), ONE)
    assert isinstance(whole, Case)
    assert isinstance(other, Incomplete)
    assert (other.name, other.refusal.code) == ("notes.txt", Code.INPUT_UNSUPPORTED_FORMAT)


def test_the_same_case_twice(tmp_path: Path) -> None:
    files = touch(tmp_path, "a_0000.nii.gz", "a.nii.gz")
    assert refusal_code(lambda: find_cases(files, ONE)) is Code.CONTRACT_CHANNEL_NAME
    assert refusal_code(lambda: find_cases([files[0], files[0]], ONE)) is Code.CONTRACT_CHANNEL_NAME


def test_an_empty_folder(tmp_path: Path) -> None:
    assert refusal_code(lambda: find_cases([tmp_path], ONE)) is Code.INPUT_MISSING


def test_what_is_not_there_is_not_called_another_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="There is no file or folder") as refused:
        find_cases([tmp_path / "imagesTs"], ONE)
    assert refused.value.code is Code.INPUT_MISSING


def test_channels_by_name_in_any_order_and_case() -> None:
    case = case_from_channels([("flair", Path("f.nii.gz")), ("t1", Path("p_0000.nii.gz"))], TWO)
    assert case == Case("p", (Path("p_0000.nii.gz"), Path("f.nii.gz")))
    assert case_from_channels([("MRI", Path("x.mha"))], ONE, name="n").name == "n"


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (("T1", "T2"), "'T2' is unknown"),
        (("T1",), "'FLAIR' is missing"),
        (("T1", "t1"), "'t1' is given twice"),
    ],
)
def test_wrong_channel_names_are_listed(given: tuple[str, ...], wrong: str) -> None:
    with pytest.raises(Refusal, match="T1, FLAIR") as caught:
        case_from_channels([(name, Path("a.nii.gz")) for name in given], TWO)
    assert caught.value.code is Code.CONTRACT_CHANNEL_NAME
    assert wrong in caught.value.detail


def answered(folder: Path, case: str, *, ending: str = ".nii.gz") -> None:
    """Write what a run leaves: the mask, a map of its uncertainty, and the answer that names the mask."""
    (folder / f"{case}{ending}").write_bytes(b"mask")
    (folder / f"{case}_uncertainty{ending}").write_bytes(b"map")
    manifest = {"mask_sha256": hashlib.sha256(b"mask").hexdigest()}
    (folder / f"{case}.json").write_text(json.dumps({"case": case, "manifest": manifest}))


@pytest.mark.parametrize("model", [ONE, TWO])
def test_masks_of_an_earlier_run_are_no_images(tmp_path: Path, model: ModelDescription) -> None:
    touch(tmp_path, *(f"a_{index:04d}.nii.gz" for index in range(len(model.channel_names))))
    before = find_cases([tmp_path], model)
    answered(tmp_path, "a")
    assert find_cases([tmp_path], model) == before


def test_an_image_that_is_called_like_a_mask_stays(tmp_path: Path) -> None:
    answered(tmp_path, "a")
    (tmp_path / "a.nii.gz").write_bytes(b"another image")
    touch(tmp_path, "b.nii.gz", "b_raw.nii.gz", "c.nii.gz")
    (tmp_path / "b.json").write_text('{"spacing": [1, 1, 1]}')
    (tmp_path / "c.json").write_text('["manifest"]')
    assert names(find_cases([tmp_path], ONE)) == ["a", "a_uncertainty", "b", "b_raw", "c"]


def test_a_folder_of_nothing_but_masks(tmp_path: Path) -> None:
    answered(tmp_path, "a")
    assert refusal_code(lambda: find_cases([tmp_path], ONE)) is Code.INPUT_MISSING
