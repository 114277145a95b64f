"""Labels that nnU-Net cannot train, and those without any voxel to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.compare.labels_check import absent_notes, check_any_label, check_declared
from nnunet_losses.compare.study import StudyError

if TYPE_CHECKING:
    from pathlib import Path

BOTH = {"labels": {"background": 0, "organ": 1, "tumour": 2, "ignore": 3}}
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]}


def masks(**values: tuple[int, ...]) -> dict[str, frozenset[float]]:
    return {case: frozenset(map(float, found)) for case, found in values.items()}


@pytest.mark.parametrize("values", [masks(a=(0,), b=(0,)), masks(a=(0, 3))])
def test_nothing_to_learn_is_refused(values: dict[str, frozenset[float]]) -> None:
    with pytest.raises(
        StudyError, match=rf"no training mask of A .* all {len(values)} .* organ = 1, tumour = 2 in some"
    ):
        check_any_label("A", BOTH, values)
    with pytest.raises(StudyError, match=r"whole = 1 or 2, core = 2"):
        check_any_label("A", REGIONS, masks(a=(0,)))


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"labels": {"0": "background", "1": "lesion"}}, r"the label '0' is 'background'; it is an integer"),
        ({"labels": {"lesion": 1}}, r"declares the labels {'lesion': 1}; nnU-Net needs 'background' = 0"),
        ({"labels": {"background": 0, "lesion": 255}}, r"'lesion': 255}; .* from 1 without a gap"),
        ({"labels": REGIONS["labels"]}, r"declares 2 regions, but its regions_class_order is None; write"),
    ],
)
def test_labels_that_nnunet_would_fail_at_are_refused(
    description: dict[str, Any], words: str, tmp_path: Path
) -> None:
    for accepted in (BOTH, REGIONS):
        check_declared(tmp_path / "dataset.json", accepted)
    with pytest.raises(StudyError, match=r"dataset.json" + ".*" + words):
        check_declared(tmp_path / "dataset.json", description)


def test_a_label_that_is_never_there_is_told_once() -> None:
    values = masks(a=(0, 1), b=(0, 1))
    check_any_label("A", BOTH, values)
    (note,) = absent_notes(BOTH, values, [{"train": ["a"], "val": ["b"]}], [0])
    assert "No training mask has tumour" in note
    assert "rankings for it mean nothing" in note
    assert not list(absent_notes(REGIONS, masks(a=(2,)), [{"train": ["a"], "val": []}], [0]))


def test_a_fold_that_cannot_learn_a_label_is_named() -> None:
    splits = [{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]
    (note,) = absent_notes(BOTH, masks(a=(1, 2), b=(1,)), splits, [0, 1])
    assert note.startswith("No training mask of fold 1 has tumour")
