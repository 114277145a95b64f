"""Labels without any voxel to learn from."""

from __future__ import annotations

import pytest

from nnunet_losses.compare.absent_labels import absent_notes, check_any_label
from nnunet_losses.compare.study import StudyError

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
