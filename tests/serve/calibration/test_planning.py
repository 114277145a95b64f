"""Which cases a calibration runs on: never one that the network has seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.calibration.contents import contents_sha256
from nnunet_losses.serve.calibration.errors import CalibrationError
from nnunet_losses.serve.calibration.planning import (
    Planned,
    Sources,
    default_splits,
    make_plan,
    read_groups,
    read_splits,
)
from nnunet_losses.serve.calibration.record_store import RecordStore
from nnunet_losses.serve.calibration.records import Role
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.safety.calibration import GuaranteeKind
from nnunet_losses.serve.schema import Fold, ModelDescription

from ..models import HASH, description

if TYPE_CHECKING:
    from pathlib import Path

SPLITS = [{"train": ["a", "b", "c"], "val": ["d"]}, {"train": ["b", "c", "d"], "val": ["a"]}]


def folds(*names: str) -> ModelDescription:
    model = description()
    found = tuple(Fold(name=name, file=f"{name}.onnx", sha256=HASH, checkpoint_sha256=HASH) for name in names)
    return model.model_copy(update={"members": (model.members[0].model_copy(update={"folds": found}),)})


def dataset(root: Path, *names: str, images: str = "imagesTr", labels: str = "labelsTr") -> Path:
    for name in names:
        for file in (root / images / f"{name}_0000.nii.gz", root / labels / f"{name}.nii.gz"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    return root


def test_a_fold_is_ranked_by_its_own_cases(tmp_path: Path) -> None:
    plan = make_plan(folds("1"), Sources(dataset(tmp_path, *"abcd"), splits=SPLITS))
    roles = {planned.case.name: planned.role for planned in plan.cases}
    assert roles == {"a": Role.RANKED, "b": Role.FITTED, "c": Role.FITTED, "d": Role.FITTED}
    assert plan.guarantee is GuaranteeKind.CONFORMAL
    assert {planned.fold for planned in plan.cases} == {None}
    assert plan.cases[0].label == tmp_path / "labelsTr" / "b.nii.gz"


def test_several_folds_promise_about(tmp_path: Path) -> None:
    plan = make_plan(folds("0", "1"), Sources(dataset(tmp_path, *"abcd"), splits=SPLITS))
    ranked = {(planned.fold, planned.case.name) for planned in plan.cases if planned.role is Role.RANKED}
    assert ranked == {("0", "d"), ("1", "a")}
    assert plan.guarantee is GuaranteeKind.APPROXIMATE
    assert plan.remark is not None


def test_held_out_cases_are_new_to_all_folds(tmp_path: Path) -> None:
    raw = dataset(tmp_path / "raw", *"abcd")
    held_out = dataset(tmp_path / "new", "x", "y", images="imagesTs", labels="labelsTs")
    plan = make_plan(folds("all"), Sources(raw, held_out=held_out))
    ranked = [planned for planned in plan.cases if planned.role is Role.RANKED]
    assert [planned.case.name for planned in ranked] == ["x", "y"]
    assert ranked[0].label == held_out / "labelsTs" / "x.nii.gz"
    assert plan.guarantee is GuaranteeKind.CONFORMAL


def test_a_folder_of_images_alone_has_no_references(tmp_path: Path) -> None:
    held_out = dataset(tmp_path / "new", "x", images=".", labels="../labels") / "."
    plan = make_plan(folds("0"), Sources(dataset(tmp_path / "raw", "a"), held_out=held_out))
    assert [planned.label for planned in plan.cases if planned.role is Role.RANKED] == [None]


def test_a_new_case_needs_a_new_name(tmp_path: Path) -> None:
    raw, negatives = (
        dataset(tmp_path, *"abcd"),
        dataset(tmp_path / "new", "d", images="free", labels="-") / "free",
    )
    with pytest.raises(CalibrationError, match="The case d of free has the name of a case of imagesTr"):
        make_plan(folds("0"), Sources(raw, SPLITS, negatives=negatives))
    with pytest.raises(CalibrationError, match="The case a of imagesTr has the name"):
        make_plan(folds("0"), Sources(raw, SPLITS, negatives=raw / "imagesTr"))
    held_out = dataset(tmp_path / "held", "a", "x", images="imagesTs")
    assert make_plan(folds("0"), Sources(raw, held_out=held_out)).cases  # a copy is set aside later
    (held_out / "imagesTs" / "a_0000.nii.gz").write_bytes(b"another patient")
    with pytest.raises(CalibrationError, match="rename it"):
        make_plan(folds("0"), Sources(raw, held_out=held_out))


def test_groups_name_cases_that_there_are(tmp_path: Path) -> None:
    sources = Sources(dataset(tmp_path, *"abcd"), SPLITS, groups={"a": "anna", "d.nii.gz": "anna"})
    with pytest.raises(
        CalibrationError, match=r"name d\.nii\.gz, which is none of the 4 cases .* such as a\."
    ):
        make_plan(folds("0"), sources)
    table = tmp_path / "groups.csv"
    table.write_text("case,group\na,anna\nb,\n")
    with pytest.raises(CalibrationError, match=r"groups\.csv gives b no group; leave its line out"):
        read_groups(table)
    table.write_text("case,group\na,anna\nb\n")
    with pytest.raises(CalibrationError, match="gives b no group"):
        read_groups(table)


def test_negatives_outliers_and_groups(tmp_path: Path) -> None:
    dataset(tmp_path, "n", images="free", labels="-")
    dataset(tmp_path, "o", images="odd", labels="-")
    sources = Sources(
        dataset(tmp_path, *"abcd"),
        SPLITS,
        negatives=tmp_path / "free",
        outliers=tmp_path / "odd",
        groups={"d": "anna"},
    )
    plan = make_plan(folds("0"), sources)
    found = {planned.case.name: planned for planned in plan.cases}
    assert (found["n"].role, found["n"].is_negative) == (Role.RANKED, True)
    assert found["o"].role is Role.OUTLIER
    assert (found["d"].group, found["a"].group) == ("anna", "a")


@pytest.mark.parametrize(
    ("names", "splits", "message"),
    [
        (("all",), SPLITS, "trained with all cases.*--held-out"),
        (("0",), None, "--splits, or --held-out"),
        (("2",), SPLITS, "The splits have 2 folds; the bundle has the fold 2"),
        (("0",), [{"train": ["a"], "val": ["z"]}], "name z, which is not among the 4 cases"),
        (("0",), [{"train": ["a", "d"], "val": ["d"]}], "name d for training and for validation"),
        (("0",), [{"train": ["a"], "val": []}], "no validation cases"),
    ],
)
def test_refused(
    tmp_path: Path, names: tuple[str, ...], splits: list[dict[str, list[str]]], message: str
) -> None:
    with pytest.raises(CalibrationError, match=message):
        make_plan(folds(*names), Sources(dataset(tmp_path, *"abcd"), splits=splits))


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="no folder imagesTr"):
        make_plan(folds("0"), Sources(tmp_path, splits=SPLITS))


def test_a_series_is_known_by_what_its_folder_holds(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "a.dcm").write_bytes(b"first")
        (folder / "b.dcm").write_bytes(b"second")
    assert contents_sha256(one) == contents_sha256(two)
    (two / "b.dcm").write_bytes(b"other")
    assert contents_sha256(one) != contents_sha256(two)
    store = RecordStore.open(tmp_path / "records", description(), ("fake", "float32"))
    assert store.load(Planned(Case("one", (one,)), Role.RANKED, None, "one")) is None


def test_files(tmp_path: Path) -> None:
    (tmp_path / "splits_final.json").write_text(json.dumps(SPLITS))
    assert read_splits(tmp_path / "splits_final.json") == SPLITS
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(CalibrationError, match=r"other.json is no splits_final.json"):
        read_splits(tmp_path / "other.json")
    (tmp_path / "groups.csv").write_text("case,group\na,anna\nb,anna\n")
    assert read_groups(tmp_path / "groups.csv") == {"a": "anna", "b": "anna"}
    for content, message in (
        ("name,group\na,b\n", "columns case and group"),
        ("case,group\na,1\na,2\n", "a twice"),
    ):
        (tmp_path / "groups.csv").write_text(content)
        with pytest.raises(CalibrationError, match=message):
            read_groups(tmp_path / "groups.csv")


@pytest.mark.parametrize("count", [5, 23, 100])
def test_the_default_splits_are_those_of_nnunet(count: int) -> None:
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    names = [f"case_{index:03d}" for index in range(count)]
    expected = generate_crossval_split(names, seed=12345, n_splits=5)
    assert default_splits(names[::-1]) == [
        {part: [str(name) for name in fold[part]] for part in ("train", "val")} for fold in expected
    ]


def test_too_few_for_the_default_splits() -> None:
    with pytest.raises(CalibrationError, match="4 cases are too few"):
        default_splits(list("abcd"))
