"""Candidates of labels, by hand."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest

from nnunet_losses.serve.safety.candidates import candidates, positive
from nnunet_losses.serve.schema import Head, Label

from ..models import description
from .votes import blank_logits, votes

MODEL = description()  # organ 1, lesion 2
SHAPE = (4, 6, 8)


def sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))


def test_two_components_by_hand() -> None:
    logits = blank_logits(3, SHAPE)
    logits[2, 1, 2, 2:4] = 5, 7  # over background's 2: margins 3 and 5
    logits[2, 3, 5, 7] = 2.5  # margin 0.5
    mask = logits.argmax(axis=0).astype(np.uint8)
    organ, lesion = candidates(votes(logits), mask, MODEL, spacing=(3.0, 2.0, 1.0))
    large, small = lesion.components
    assert (large.voxels, large.volume_mm3, large.max_margin, large.mean_margin) == (2, 12, 5, 4)
    assert large.confidence == pytest.approx((sigmoid(3) + sigmoid(5)) / 2)
    # faces: two of 2x3 at the ends, and along the sides 2 x (2 x 3x1 + 2 x 2x1)
    assert large.surface_to_volume == pytest.approx((2 * 6 + 2 * (2 * 3 + 2 * 2)) / 12)
    assert large.place == (1.0, 2.0, 2.5)
    assert (small.volume_mm3, small.max_margin, small.place) == (6, 0.5, (3.0, 5.0, 7.0))
    assert (organ.components, organ.below, lesion.below) == ((), -2, 0)
    assert (large.hit, lesion.bears, lesion.dice) == (None, None, None)


def test_what_touches_at_a_corner_is_one() -> None:
    logits = blank_logits(3, SHAPE)
    for index in range(4):
        logits[1, index, index, index] = 4
    mask = logits.argmax(axis=0).astype(np.uint8)
    organ, _ = candidates(votes(logits), mask, MODEL, spacing=(1.0, 1.0, 1.0))
    assert [one.voxels for one in organ.components] == [4]


def test_below_is_how_near_a_label_came() -> None:
    logits = blank_logits(3, SHAPE)
    logits[2, 0, 0, 0] = 1.5
    logits[1, 1, 1, 1] = 9  # organ: far above the lesion's 0 here
    mask = logits.argmax(axis=0).astype(np.uint8)
    _, lesion = candidates(votes(logits), mask, MODEL, spacing=(1.0, 1.0, 1.0))
    assert (lesion.components, lesion.below) == ((), -0.5)


def test_below_is_never_positive() -> None:
    """Postprocessing, or resampling, may have taken away what won in the network's space."""
    logits = blank_logits(3, SHAPE)
    logits[2, 0, 0, 0] = 9
    _, lesion = candidates(votes(logits), np.zeros(SHAPE, np.uint8), MODEL, spacing=(1.0, 1.0, 1.0))
    assert lesion.below == 0


def test_regions_have_their_own_logit() -> None:
    labels = (
        Label(name="whole", channel=0, value=1, members=(1, 2)),
        Label(name="lesion", channel=1, value=2, members=(2,)),
    )
    model = description(head=Head.SIGMOID, heads=2, labels=labels)
    logits = np.full((2, *SHAPE), -3, np.float16)
    logits[0, 1:3, 1:3, 1:3] = 6
    logits[1, 1, 1, 1] = 4
    mask = np.where(logits[1] > 0, 2, np.where(logits[0] > 0, 1, 0)).astype(np.uint8)
    whole, lesion = candidates(votes(logits), mask, model, spacing=(1.0, 1.0, 1.0))
    assert [(one.voxels, one.max_margin, one.mean_margin) for one in whole.components] == [(8, 6, 6)]
    assert [(one.voxels, one.max_margin) for one in lesion.components] == [(1, 4)]
    nothing = candidates(votes(logits - 10), np.zeros(SHAPE, np.uint8), model, spacing=(1.0, 1.0, 1.0))
    assert [label.below for label in nothing] == [-4, -6]


def test_margins_come_from_the_network_space() -> None:
    """A finer image: two by two by two voxels for each of the network's."""
    logits = blank_logits(3, (2, 3, 4))
    logits[1, 1, 2, 3] = 6
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:4, 4:6, 6:8] = 1
    organ, _ = candidates(votes(logits, shape=SHAPE), mask, MODEL, spacing=(1.0, 1.0, 1.0))
    assert [(one.voxels, one.max_margin, one.mean_margin) for one in organ.components] == [(8, 4, 4)]


def test_a_component_between_the_network_samples_is_not_lost() -> None:
    logits = blank_logits(3, (1, 1, 2))  # a sample for every four voxels along x: middles at 2 and 6
    logits[1, 0, 0, 0] = 5
    mask = np.zeros((1, 1, 8), np.uint8)
    mask[0, 0, 0] = mask[0, 0, 7] = 1
    organ, _ = candidates(votes(logits, shape=(1, 1, 8)), mask, MODEL, spacing=(1.0, 1.0, 1.0))
    assert [one.max_margin for one in organ.components] == [3, -2]


def test_members_are_averaged() -> None:
    first, second = blank_logits(3, SHAPE), blank_logits(3, (2, 3, 4))
    first[1, 0, 0, 0], second[1, 0, 0, 0] = 6, 8
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, 0, 0] = 1
    organ, lesion = candidates(votes(first, second), mask, MODEL, spacing=(1.0, 1.0, 1.0))
    assert organ.components[0].max_margin == (4 + 6) / 2
    assert lesion.below == -2


def test_places_and_volumes_survive_crop_and_transposition() -> None:
    """The network's axes are (x, z, y); it sees a part of the image."""
    forward = (2, 0, 1)
    network_shape = tuple(SHAPE[axis] for axis in forward)
    box = (slice(2, 8), slice(0, 4), slice(1, 6))
    logits = blank_logits(3, (6, 4, 5))
    mask = np.zeros(SHAPE, np.uint8)
    mask[3, 2, 5] = 1
    logits[1, 5 - 2, 3, 2 - 1] = 5
    found = votes(logits, shape=network_shape, box=box, forward=forward)
    organ, _ = candidates(found, mask, MODEL, spacing=(4.0, 2.0, 1.0))
    (one,) = organ.components
    assert (one.place, one.volume_mm3, one.max_margin) == ((3.0, 2.0, 5.0), 8, 3)


def test_a_slice_has_areas_and_circumferences() -> None:
    logits = blank_logits(3, (1, 5, 5))
    logits[1, 0, 1:4, 1:3] = 5
    mask = logits.argmax(axis=0).astype(np.uint8)
    organ, _ = candidates(votes(logits), mask, MODEL, spacing=(999.0, 1.0, 1.0))
    assert [(one.volume_mm3, one.surface_to_volume) for one in organ.components] == [(6, 10 / 6)]


def test_a_narrow_crop_of_a_slice_stays_an_area() -> None:
    logits = blank_logits(3, (1, 1, 5))
    logits[1, 0, 0, 2] = 5
    mask = np.zeros((1, 6, 5), np.uint8)
    mask[0, 3, 2] = 1
    found = votes(logits, shape=mask.shape, box=(slice(0, 1), slice(3, 4), slice(0, 5)))
    organ, _ = candidates(found, mask, MODEL, spacing=(5.0, 2.0, 3.0))
    (one,) = organ.components
    assert (one.volume_mm3, one.surface_to_volume, one.max_margin) == (6, 10 / 6, 3)


def test_hits_and_dice() -> None:
    logits = blank_logits(3, SHAPE)
    logits[2, 0, 0, 0:3] = 5
    logits[2, 3, 5, 5:7] = 5
    mask = logits.argmax(axis=0).astype(np.uint8)
    reference = np.zeros(SHAPE, np.uint8)
    reference[0, 0, 2:5] = 2
    organ, lesion = candidates(votes(logits), mask, MODEL, spacing=(1.0, 1.0, 1.0), reference=reference)
    assert [one.hit for one in lesion.components] == [True, False]
    assert lesion.dice == pytest.approx(2 * 1 / (5 + 3))
    assert (lesion.bears, organ.bears, organ.dice) == (True, False, None)


def test_the_reference_counts_outside_of_the_crop() -> None:
    logits = blank_logits(3, (2, 2, 2))
    logits[2, 0, 0, 0] = 5
    mask, reference = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    mask[0, 0, 0], reference[3, 5, 7] = 2, 2
    found = votes(logits, shape=SHAPE, box=(slice(0, 2),) * 3)
    _, lesion = candidates(found, mask, MODEL, spacing=(1.0, 1.0, 1.0), reference=reference)
    assert (lesion.bears, lesion.dice, lesion.components[0].hit) == (True, 0, False)


def test_ignored_voxels_do_not_count() -> None:
    logits = blank_logits(3, SHAPE)
    logits[2, 0, 0, 0] = logits[2, 2, 2, 2:4] = 5
    mask = logits.argmax(axis=0).astype(np.uint8)
    reference = np.zeros(SHAPE, np.uint8)
    reference[0, 0, 0] = 3
    reference[2, 2, 2] = 2
    model = description(ignore_label=3)
    _, lesion = candidates(votes(logits), mask, model, spacing=(1.0, 1.0, 1.0), reference=reference)
    assert [one.hit for one in lesion.components] == [None, True]
    assert lesion.dice == pytest.approx(2 / 3)


def test_a_reference_of_another_shape_is_refused() -> None:
    logits = blank_logits(3, SHAPE)
    with pytest.raises(ValueError, match="expected the mask's"):
        candidates(
            votes(logits),
            np.zeros(SHAPE, np.uint8),
            MODEL,
            spacing=(1.0, 1.0, 1.0),
            reference=np.zeros((1, 2, 3), np.uint8),
        )


def test_scores_grow_without_ties() -> None:
    values = [positive(value) for value in (-600.0, -40.0, 0.0, 39.9, 40.1, 500.0)]
    assert values == sorted(set(values))
    assert values[0] > 0
    assert values[-1] == 500


def test_chunks_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, *SHAPE)).astype(np.float16)
    logits[0] += 8
    nothing = np.zeros(SHAPE, np.uint8)
    whole = candidates(votes(logits), nothing, MODEL, spacing=(1.0, 1.0, 1.0))
    monkeypatch.setattr("nnunet_losses.serve.safety.candidates._VOXELS", 1)
    assert candidates(votes(logits), nothing, MODEL, spacing=(1.0, 1.0, 1.0)) == whole
    assert whole[0].below == pytest.approx(float((logits[1] - logits.max(axis=0)).max()), abs=1e-2)
