"""Maps of the uncertainty, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.answer import Quality
from nnunet_losses.serve.safety.quality import with_files
from nnunet_losses.serve.safety.uncertainty import described, uncertainty_maps
from nnunet_losses.serve.schema import Head

from .votes import votes

SHAPE = (2, 3, 4)


def shannon(*shares: float) -> float:
    return -sum(p * np.log(p) for p in shares if p)


def test_entropy_of_three_labels() -> None:
    logits = np.zeros((3, *SHAPE), np.float16)
    logits[0, 0] = 20  # sure
    logits[1, 1, 0, 0] = np.log(2)
    maps = uncertainty_maps(votes(logits), Head.SOFTMAX)
    assert list(maps) == ["entropy"]
    entropy = maps["entropy"]
    assert entropy.dtype == np.uint8
    assert entropy.shape == SHAPE
    assert set(entropy[0].ravel().tolist()) == {0}
    assert entropy[1, 1, 1] == 255
    assert entropy[1, 0, 0] == pytest.approx(255 * shannon(0.5, 0.25, 0.25) / np.log(3), abs=1)


def test_of_regions_the_most_uncertain_counts() -> None:
    logits = np.full((2, *SHAPE), 30, np.float16)
    logits[1, 0, 0, 0] = 0
    logits[0, 0, 0, 1] = np.log(3)
    entropy = uncertainty_maps(votes(logits), Head.SIGMOID)["entropy"]
    assert entropy[0, 0, :3].tolist() == [255, round(255 * shannon(0.75, 0.25) / np.log(2)), 0]


def test_members_that_contradict_each_other_have_information() -> None:
    first, second = np.zeros((2, *SHAPE), np.float16), np.zeros((2, *SHAPE), np.float16)
    first[0], second[0] = 20, 20
    second[0, 0, 0, 0], second[1, 0, 0, 0] = 0, 20  # sure of the opposite
    first[0, 0, 0, 1] = second[0, 0, 0, 1] = 0  # both open
    maps = uncertainty_maps(votes(first, second), Head.SOFTMAX)
    assert maps["entropy"][0, 0, :3].tolist() == [255, 255, 0]
    assert maps["mutual_information"][0, 0, :3].tolist() == [255, 0, 0]


def test_outside_of_the_crop_is_nothing() -> None:
    logits = np.zeros((2, 1, 2, 2), np.float16)
    found = votes(logits, shape=(4, 2, 3), box=(slice(1, 2), slice(0, 2), slice(1, 3)), forward=(2, 0, 1))
    entropy = uncertainty_maps(found, Head.SOFTMAX)["entropy"]
    assert entropy.shape == (2, 3, 4)
    assert np.argwhere(entropy).tolist() == [[0, 1, 1], [0, 2, 1], [1, 1, 1], [1, 2, 1]]


def test_what_is_said_of_a_map() -> None:
    maps = {"entropy": np.array([[[0, 51, 255]]], np.uint8)}
    (said,) = described(maps, np.array([[[0, 1, 2]]]))
    assert (said.measure, said.mean_in_mask, said.scale) == ("entropy", pytest.approx(0.6), 1 / 255)
    assert described(maps, np.zeros((1, 1, 3)))[0].mean_in_mask is None
    named = with_files(Quality(uncertainty=(said,)), {"entropy": "p_uncertainty.nii.gz"})
    assert (named.uncertainty[0].file, named.uncertainty_map) == ("p_uncertainty.nii.gz",) * 2
