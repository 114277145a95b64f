"""What a loss accepts as logits, target and mask, and what it says about anything else."""

from __future__ import annotations

import pytest
import torch

from nnunet_losses import create_loss

LOGITS = torch.zeros(2, 3, 4, 5)
IDS = torch.zeros(2, 1, 4, 5, dtype=torch.int16)


@pytest.mark.parametrize(
    ("logits", "target", "mask", "message"),
    [
        (LOGITS[0], IDS[0], None, r"logits have shape \(3, 4, 5\); expected \(B, C, H, W\)"),
        (LOGITS[:0], IDS[:0], None, "none 0"),
        (LOGITS[:, :1], IDS, None, "softmax over one channel is always 1; use activation='sigmoid'"),
        (
            LOGITS,
            IDS[:, 0],
            None,
            r"expected \(2, 1, 4, 5\) or \(2, 3, 4, 5\).*add the channel axis: target\[:, None\]",
        ),
        (LOGITS, IDS[:1], None, r"target has shape \(1, 1, 4, 5\)"),
        (LOGITS, IDS[..., :4], None, r"target has shape \(2, 1, 4, 4\)"),
        (LOGITS, IDS.expand(2, 2, 4, 5), None, r"target has shape \(2, 2, 4, 5\)"),
        (LOGITS, IDS, IDS[:, 0], r"mask has shape \(2, 4, 5\).*mask\[:, None\]"),
        (LOGITS, IDS, LOGITS, r"mask has shape \(2, 3, 4, 5\); expected \(2, 1, 4, 5\)"),
        (LOGITS, IDS + 3, None, r"holds class 3, .* 0 to 2 only; if 3 is the ignore label, .*ignore_index=3"),
        (LOGITS, IDS - 1, None, "holds class -1"),
        (LOGITS, IDS - 100, None, "holds class -100"),
        (LOGITS, IDS + 0.5, None, "not whole numbers; soft labels are not supported"),
        (LOGITS, LOGITS + 0.3, None, "values other than 0 and 1; soft labels are not supported"),
        (LOGITS, LOGITS.bool(), None, "no or several channels set"),
        (LOGITS, ~LOGITS.bool(), None, "no or several channels set"),
    ],
)
def test_wrong_input_is_refused(logits, target, mask, message):
    with pytest.raises(ValueError, match=message):
        create_loss("dice_ce")(logits, target, mask)


def test_integer_logits_are_refused():
    with pytest.raises(TypeError, match=r"logits are torch\.int16; expected raw network outputs"):
        create_loss("ce")(IDS.expand(2, 3, 4, 5), IDS)


def test_ids_under_sigmoid_are_refused():
    with pytest.raises(ValueError, match=r"expected \(2, 3, 4, 5\) beside logits"):
        create_loss("ce", activation="sigmoid")(LOGITS, IDS)


@pytest.mark.parametrize("key", ["weighted_ce", "focal"])
def test_weights_must_match_the_channels(key):
    name = {"weighted_ce": "class_weights", "focal": "alpha"}[key]
    with pytest.raises(ValueError, match=f"{name} has 2 values, but the logits have 3 channels"):
        create_loss(key, **{name: [1, 2]})(LOGITS, IDS)


def test_no_channel_left():
    loss = create_loss("dice", activation="sigmoid", include_background=False)
    with pytest.raises(ValueError, match="leaves no channel"):
        loss(LOGITS[:, :1], IDS)


@pytest.mark.parametrize(
    ("dtype", "label"),
    [(torch.uint8, 255), (torch.uint8, -100), (torch.int8, -1), (torch.int8, 255), (torch.int16, -100),
     (torch.int64, 3), (torch.float32, -1)],
)  # fmt: skip
def test_ignore_index_does_not_wrap_around(dtype, label):
    # 255 is -1 in int8, -100 is 156 in uint8: only equal values may be ignored.
    target = torch.tensor([0, 1, 2, 1]).view(1, 1, 2, 2).to(dtype)
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    plain = create_loss("ce")(logits, target)
    assert torch.equal(create_loss("ce", ignore_index=label)(logits, target), plain)
    if torch.tensor(label).to(dtype).item() == label:
        target[0, 0, 0, 0] = label
        mask = torch.tensor([0, 1, 1, 1]).view(1, 1, 2, 2)
        ignoring = create_loss("ce", ignore_index=label)(logits, target)
        assert torch.equal(ignoring, create_loss("ce")(logits, target.clamp(0, 2), mask))


def test_a_mask_hides_undefined_labels_and_not_a_number():
    target = torch.tensor([0.0, 1.0, float("nan"), 9.0]).view(1, 1, 2, 2)
    mask = torch.tensor([1, 1, 0, 0]).view(1, 1, 2, 2)
    value = create_loss("dice_ce")(torch.zeros(1, 2, 2, 2), target, mask)
    assert value.isfinite()


def test_one_region_may_come_as_ids_with_an_ignore_label():
    target = torch.tensor([0, 1, 2, 1]).view(1, 1, 2, 2)
    logits = torch.tensor([-1.0, 1.0, 3.0, 2.0]).view(1, 1, 2, 2)
    loss = create_loss("dice_ce", activation="sigmoid", ignore_index=2)
    mask = torch.tensor([1, 1, 0, 1]).view(1, 1, 2, 2)
    expected = create_loss("dice_ce", activation="sigmoid")(logits, target == 1, mask)
    assert torch.equal(loss(logits, target), expected)
