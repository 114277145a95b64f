"""Which of a model's channels is the probability of which label."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.metrics import LabelSet
from nnunet_losses.serve.metrics.probabilities import by_label, read_probabilities

PLAIN = {"labels": {"background": 0, "edema": 1, "core": [2]}}  # one list of one value makes no region
REGIONS = {"labels": {"background": 0, "whole": [1, 2], "core": 2, "ignore": 3}}
SOFTMAX = np.array([[0.5, 0.125], [0.25, 0.125], [0.25, 0.75]])
SIGMOID = np.array([[0.75, 0.5], [0.25, 0.375]])
SHAPE = (2, 3, 4)


@pytest.mark.parametrize("described", [LabelSet.of_dataset(PLAIN), None], ids=["described", "unknown"])
def test_values_have_channels_and_several_their_sum(described):
    labels = LabelSet.of_options(["core=2", "whole=1,2"])
    found = by_label(SOFTMAX, labels, described)
    np.testing.assert_array_equal(found["core"], [0.25, 0.75])
    np.testing.assert_array_equal(found["whole"], [0.5, 0.875])


def test_regions_are_found_by_their_values():
    """In whatever order they are asked for: the channels have that of dataset.json."""
    labels = LabelSet.of_options(["heart=2", "all=2,1"])
    found = by_label(SIGMOID, labels, LabelSet.of_dataset(REGIONS))
    np.testing.assert_array_equal(found["heart"], SIGMOID[1])
    np.testing.assert_array_equal(found["all"], SIGMOID[0])


def test_regions_that_nobody_describes_are_taken_in_order():
    found = by_label(SIGMOID, LabelSet.of_options(["whole=1,2", "core=2"]), None)
    np.testing.assert_array_equal(found["core"], SIGMOID[1])


def test_a_list_of_one_value_is_a_region_beside_another_alone():
    """As in nnU-Net's LabelManager.has_regions, and in the keys of its summary.json."""
    assert [label.key for label in LabelSet.of_dataset(PLAIN).labels] == ["1", "2"]
    mixed = {"labels": {"background": 0, "whole": [1, 2], "core": [2]}}
    assert [label.key for label in LabelSet.of_dataset(mixed).labels] == ["(1, 2)", "(2,)"]


@pytest.mark.parametrize(
    ("channels", "asked", "described", "message"),
    [
        (SOFTMAX, "other=3", PLAIN, "none for the value 3"),
        (SIGMOID, "edema=1", REGIONS, r"none is that of 'edema'"),
        (SOFTMAX, "core=2", REGIONS, "of 3 channels"),
    ],
)
def test_labels_without_a_channel_are_refused(channels, asked, described, message):
    with pytest.raises(ValueError, match=message):
        by_label(channels, LabelSet.of_options([asked]), LabelSet.of_dataset(described))


def saved(folder, **arrays):
    file = folder / "case.npz"
    np.savez(file, **arrays)
    return file


def asked(file):
    return read_probabilities(file, LabelSet.of_options(["core=1"]), SHAPE, None)["core"]


def test_rounding_above_one_is_no_error(tmp_path):
    stored = np.full((2, *SHAPE), 1 + 1e-7)
    assert asked(saved(tmp_path, probabilities=stored)).max() == 1


def test_a_slice_has_one_more_axis(tmp_path):
    file = saved(tmp_path, probabilities=np.full((2, 1, 3, 4), 0.5))
    found = read_probabilities(file, LabelSet.of_options(["core=1"]), (3, 4), None)
    assert found["core"].shape == (3, 4)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"probabilities": np.zeros((2, *SHAPE[::-1]))}, "both end in z, y, x"),
        ({"probabilities": np.full((2, *SHAPE), 3.0)}, "not from 0 to 1"),
        ({"probabilities": np.full((2, *SHAPE), np.nan)}, "not from 0 to 1"),
        ({"softmax": np.zeros((2, *SHAPE))}, "not 'probabilities'"),
    ],
)
def test_wrong_files_are_refused(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        asked(saved(tmp_path, **arrays))


def test_damaged_and_missing_files_are_refused(tmp_path):
    file = tmp_path / "case.npz"
    with pytest.raises(ValueError, match=r"there is no case\.npz"):
        asked(file)
    file.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="damaged"):
        asked(file)
