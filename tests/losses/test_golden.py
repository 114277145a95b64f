"""Values that a person can check with a pencil: probabilities are chosen, logits are their logarithms."""

from __future__ import annotations

import math

import pytest
import torch

from nnunet_losses import create_loss, list_losses

from .spatial_by_hand import SPATIAL_BY_HAND

# Two voxels, two classes. p of the foreground 0.8 and 0.4; the truth is foreground, background.
# So the foreground has TP = 0.8, P = 1.2, G = 1, FP = 0.4, FN = 0.2; -log p_t is -log 0.8 and -log 0.6.
# smooth = 0.
FOREGROUND = torch.tensor([0.8, 0.4], dtype=torch.float64).view(1, 1, 1, 2)
TARGET = torch.tensor([1, 0]).view(1, 1, 1, 2)
LOG8, LOG6 = -math.log(0.8), -math.log(0.6)
DICE = 1 - 1.6 / 2.2

# key -> (parameters, value under softmax)
BY_HAND = {
    "ce": ({}, (LOG8 + LOG6) / 2),
    "weighted_ce": ({"class_weights": [1, 3]}, (3 * LOG8 + LOG6) / 4),
    "topk": ({"k": 0.5}, LOG6),
    "focal": ({"gamma": 2, "alpha": 0.25}, (0.25 * 0.2**2 * LOG8 + 0.75 * 0.4**2 * LOG6) / 2),
    "dice": ({"smooth": 0}, DICE),
    "iou": ({"smooth": 0}, 1 - 0.8 / 1.4),
    "tversky": ({"smooth": 0}, 1 - 0.8 / (0.8 + 0.3 * 0.4 + 0.7 * 0.2)),
    "dice_ce": ({"smooth": 0, "w_dice": 2, "w_ce": 3}, 2 * DICE + 3 * (LOG8 + LOG6) / 2),
    "dice_focal": ({"smooth": 0, "gamma": 1}, DICE + (0.2 * LOG8 + 0.4 * LOG6) / 2),
    "dice_topk": ({"smooth": 0, "k": 0.5}, DICE + LOG6),
    "sensitivity_specificity": ({"smooth": 0, "w": 0.1}, 0.1 * 0.2**2 + 0.9 * 0.4**2),
    "focal_tversky": ({"smooth": 0, "fp": 1, "fn": 1, "gamma": 2}, (1 - 0.8 / 1.4) ** 0.5),
    "asymmetric": ({"smooth": 0, "beta": 2}, 1 - 0.8 / (0.8 + 0.2 * 0.4 + 0.8 * 0.2)),
    # Both classes have one voxel, so equal weights: TP 0.8 and 0.6, P + G 2.2 and 1.8.
    "generalized_dice": ({"smooth": 0}, 1 - 2 * 1.4 / 4),
    "penalty_gdice": ({"smooth": 0, "k": 2}, 0.3 / (1 + 2 * 0.7)),
    # Foreground: errors 0.4 (no), 0.2 (yes), slopes 1/2, 1/2. Background: 0.4 (yes), 0.2 (no), slopes 1, 0.
    "lovasz": ({}, (0.3 + 0.4) / 2),
    # Both classes have half of the voxels: weights sqrt(2).
    "exp_log": ({"smooth": 1e-30, "gamma": 1}, -0.8 * math.log(1 - DICE) + 0.2 * 2**0.5 * (LOG8 + LOG6) / 2),
    "combo": (
        {"smooth": 0, "alpha": 0.3, "beta": 0.4},
        0.3 * (0.4 * LOG8 + 0.6 * LOG6) / 2 - 0.7 * (1 - DICE),
    ),
    # U of the foreground 0.28 / 1.08 (fn 0.6, fp 0.4), of the background, fp and fn swapped, 0.32 / 0.92.
    "unified_focal": (
        {"smooth": 0, "weight": 0.25},
        0.25 * (0.32 / 0.92 + (0.28 / 1.08) ** 0.5) / 2 + 0.75 * (0.6 * LOG8 + 0.4 * 0.4**0.5 * LOG6) / 2,
    ),
    "boundary_dou": ({"smooth": 0}, (1.8 - 1.6) / (1.8 - 0.8)),  # Q = 0.64 + 0.16 + 1; all is boundary: a = 0
    "ce_dice": ({"smooth": 0}, (DICE + (LOG8 + LOG6) / 2) / 2),
    "ce_to_dice_linear": ({"smooth": 0}, (LOG8 + LOG6) / 2),  # before any epoch is told: the first
    "ce_to_dice_finetune": ({"smooth": 0}, (LOG8 + LOG6) / 2),
    "dice_image": ({"smooth": 0}, DICE),
    "dice_class": ({"smooth": 0}, DICE),
    "dice_batch": ({"smooth": 0}, DICE),
    "dice_all": ({"smooth": 0}, DICE),
    "dice_image_eps": ({"smooth": [7, 2]}, 1 - 3.6 / 4.2),  # the background's is not used
    **SPATIAL_BY_HAND,
}


@pytest.mark.parametrize("key", list_losses())
def test_value_by_hand(key):
    params, expected = BY_HAND[key]
    logits = torch.cat([1 - FOREGROUND, FOREGROUND], dim=1).log()
    assert create_loss(key, **params)(logits, TARGET).item() == pytest.approx(expected, rel=1e-12)


COUNT_CLASSES = (
    "dice_image_eps",
    "marginal_dice",
    "focal",
    "weighted_ce",
    "generalized_dice",
    "penalty_gdice",
    "lovasz",
    "exp_log",
)


@pytest.mark.parametrize("key", [key for key in list_losses() if key not in COUNT_CLASSES])
def test_one_sigmoid_region_equals_two_softmax_classes(key):
    # With p = sigmoid(x) for the only region the sums are those above; class weights would not correspond.
    params, expected = BY_HAND[key]
    value = create_loss(key, activation="sigmoid", **params)(FOREGROUND.logit(), TARGET)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_phi_says_over_what_sums_run():
    # Two samples, two foreground classes, p 0.25 of each (background 0.5), four voxels each.
    # G of classes 1, 2: (2, 0) in the first sample, (1, 1) in the second; P = 1 always, TP = G / 4.
    logits = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log().view(1, 3, 1, 1).expand(2, 3, 1, 4)
    target = torch.tensor([[1, 1, 0, 0], [1, 2, 0, 0]]).view(2, 1, 1, 4)
    scores = {
        "I": (1 / 3 + 0 + 0.5 / 2 + 0.5 / 2) / 4,
        "CI": (1 / 4 + 1 / 4) / 2,
        "BI": (1.5 / 5 + 0.5 / 3) / 2,
        "BCI": 2 / 8,
    }
    for phi, score in scores.items():
        value = create_loss("dice", phi=phi, smooth=0)(logits, target)
        assert value.item() == pytest.approx(1 - score, rel=1e-12), phi


def test_include_background():
    logits = torch.cat([1 - FOREGROUND, FOREGROUND], dim=1).log()
    # Background: p 0.2 and 0.6, truth no, yes: Dice 1.2 / 1.8.
    both = create_loss("dice", smooth=0, include_background=True)(logits, TARGET).item()
    assert both == pytest.approx(1 - (1.6 / 2.2 + 1.2 / 1.8) / 2, rel=1e-12)
    regions = torch.cat([1 - FOREGROUND, FOREGROUND], dim=1).logit()
    target = torch.cat([TARGET == 0, TARGET == 1], dim=1)
    dice = {
        flag: create_loss("dice", activation="sigmoid", smooth=0, include_background=flag)(regions, target)
        for flag in (None, True, False)
    }
    assert dice[None] == dice[True] == pytest.approx(both, rel=1e-12)
    assert dice[False].item() == pytest.approx(DICE, rel=1e-12)


def test_squared_dice():
    logits = torch.cat([1 - FOREGROUND, FOREGROUND], dim=1).log()
    value = create_loss("dice", smooth=0, squared=True)(logits, TARGET)  # P = 0.64 + 0.16
    assert value.item() == pytest.approx(1 - 1.6 / 1.8, rel=1e-12)


def test_smooth_is_added_once_to_numerator_and_denominator():
    logits = torch.cat([1 - FOREGROUND, FOREGROUND], dim=1).log()
    assert create_loss("dice", smooth=1)(logits, TARGET).item() == pytest.approx(1 - 2.6 / 3.2, rel=1e-12)
    assert create_loss("iou", smooth=1)(logits, TARGET).item() == pytest.approx(1 - 1.8 / 2.4, rel=1e-12)


def test_topk_takes_at_least_one_voxel_and_does_not_count_ignored_ones():
    logits = torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5], dtype=torch.float64).logit().view(1, 1, 1, 5)
    target = torch.ones(1, 1, 1, 5, dtype=torch.bool)
    worst = {0.01: [0.5], 0.2: [0.5], 0.59: [0.5, 0.6], 0.6: [0.5, 0.6, 0.7]}
    for k, probabilities in worst.items():
        value = create_loss("topk", activation="sigmoid", k=k)(logits, target).item()
        assert value == pytest.approx(-sum(map(math.log, probabilities)) / len(probabilities), rel=1e-12)
    mask = torch.tensor([1, 1, 1, 1, 0]).view(1, 1, 1, 5)
    value = create_loss("topk", activation="sigmoid", k=0.5)(logits, target, mask)  # 2 of 4, without 0.5
    assert value.item() == pytest.approx(-(math.log(0.6) + math.log(0.7)) / 2, rel=1e-12)


def test_extreme_logits_keep_their_cross_entropy():
    logits = torch.tensor([500.0, -500.0]).view(1, 2, 1, 1).requires_grad_()
    value = create_loss("ce")(logits, torch.ones(1, 1, 1, 1, dtype=torch.uint8))
    value.backward()
    assert value.item() == 1000
    assert logits.grad.flatten().tolist() == [1, -1]


def test_gradient_of_an_absent_class_depends_on_phi():
    # Tilborghs et al. 2022: under "I" an absent class teaches next to nothing, under "BI" it is pushed down.
    logits = torch.zeros(2, 2, 16, 16, dtype=torch.float64, requires_grad=True)
    target = torch.zeros(2, 1, 16, 16, dtype=torch.int64)
    target[1, :, :4] = 1
    push = {}
    for phi in ("I", "BI"):
        (gradient,) = torch.autograd.grad(create_loss("dice", phi=phi)(logits, target), logits)
        push[phi] = gradient[0, 1].mean().item()  # the sample without foreground
    assert 0 < push["I"] < 1e-6 * push["BI"]


@pytest.mark.parametrize("gamma", [1.0, 4 / 3, 2.0])
def test_focal_tversky_of_a_perfect_prediction_is_its_floor(gamma):
    logits = torch.tensor([40.0, -40.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3).clone().requires_grad_()
    value = create_loss("focal_tversky", gamma=gamma)(logits, torch.zeros(1, 1, 3, 3, dtype=torch.uint8))
    value.backward()
    assert value.item() == pytest.approx(1e-7 ** (1 / gamma), rel=1e-4)
    assert logits.grad.isfinite().all()
