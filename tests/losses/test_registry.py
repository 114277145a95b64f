"""The registry: what it lists, what it says about a loss, and how it refuses."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import nnunet_losses
from nnunet_losses import create_loss, get_loss_spec, list_losses
from nnunet_losses.loss import Loss
from nnunet_losses.registry import in_order, index

FIRST_KEYS = [
    "ce",
    "weighted_ce",
    "topk",
    "focal",
    "dice",
    "iou",
    "tversky",
    "dice_ce",
    "dice_focal",
    "dice_topk",
]


def test_listing_needs_no_torch():
    code = (
        "import sys, nnunet_losses as n; dir(n); [n.get_loss_spec(k).parameters for k in n.list_losses()];"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_package_shows_its_lazy_names():
    assert set(nnunet_losses.__all__) <= set(dir(nnunet_losses))
    with pytest.raises(AttributeError, match="has no attribute 'create_los'"):
        nnunet_losses.create_los  # noqa: B018 - the access is the test


def test_losses_stand_in_the_order_of_the_documentation():
    assert list_losses()[:7] == [
        "ce",
        "weighted_ce",
        "topk",
        "focal",
        "dpce",
        "sensitivity_specificity",
        "dice",
    ]
    assert list_losses("dice_image*") == ["dice_image", "dice_image_eps"]
    assert list_losses()[-1] == "boundary_dou"
    entries = {key: get_loss_spec(key) for key in list_losses()}
    assert list(in_order(dict(reversed(entries.items())))) == list(entries)
    with pytest.raises(ValueError, match="differ in \\['ce'\\]"):
        in_order({key: spec for key, spec in entries.items() if key != "ce"})


def test_list_losses():
    assert [key for key in list_losses() if key in FIRST_KEYS] == FIRST_KEYS
    assert list_losses("dice_t*") == ["dice_topk"]
    assert list_losses("nothing*") == []


@pytest.mark.parametrize("key", list_losses())
def test_entry_is_complete(key):
    spec = get_loss_spec(key)
    assert spec.key == key
    assert spec.trainer.isalnum()
    assert spec.summary.endswith(".")
    assert spec.url.startswith("https://")
    assert spec.reference
    assert spec.formula
    assert issubclass(spec.load(), Loss)
    assert spec.load().key == key
    assert "Example:" in inspect.getdoc(spec.load())
    assert "Range:" in inspect.getdoc(spec.load())
    assert create_loss(key).params == spec.parameters
    assert spec.begins_on in ("", *list_losses())
    assert not spec.advice or spec.advice.endswith(".")
    assert set(spec.nameable) <= set(spec.parameters)


@pytest.mark.parametrize("key", list_losses())
def test_every_default_is_accepted_by_its_parameter(key):
    spec = get_loss_spec(key)
    for item in spec.fields:
        assert item.parse(item.default) == item.default
        assert item.about
        assert item.expectation


def test_parameters_keep_the_order_of_trainer_names():
    assert list(get_loss_spec("dice").parameters) == ["phi", "squared", "smooth", "include_background"]
    assert list(get_loss_spec("tversky").parameters) == ["fp", "fn", "phi", "smooth", "include_background"]
    assert list(get_loss_spec("dice_ce").parameters)[:2] == ["w_dice", "w_ce"]
    assert get_loss_spec("weighted_ce").nameable == ()


@pytest.mark.parametrize("key", ["lovasz", "boundary", "hausdorff_dt", "hausdorff_one_sided", "hausdorff_er"])
def test_warmup_is_the_last_parameter_of_the_trainer_and_none_of_the_loss(key):
    spec = get_loss_spec(key)
    assert spec.begins_on == ("ce" if key == "lovasz" else "dice")
    assert spec.parse_for_trainer({}) == {**spec.parameters, "warmup": 0.5}
    assert list(spec.parse_for_trainer({"warmup": 1}))[-1] == "warmup"
    with pytest.raises(TypeError, match=f"loss '{key}' has no parameter 'warmup'"):
        create_loss(key, warmup=0.5)
    with pytest.raises(
        ValueError, match=r"warmup=1.5 is not valid: expected a finite number at least 0 and at"
    ):
        spec.parse_for_trainer({"warmup": 1.5})


def test_duplicates_are_refused():
    spec = get_loss_spec("dice")
    with pytest.raises(ValueError, match="two losses have the key 'dice'"):
        index([spec, spec])
    with pytest.raises(ValueError, match="'dice' and 'other' share the trainer name 'Dice'"):
        index([spec, replace(spec, key="other")])


@pytest.mark.parametrize(
    ("key", "params", "error", "message"),
    [
        ("dicece", {}, ValueError, "no loss 'dicece'. Did you mean 'dice_ce'"),
        ("xyz", {}, ValueError, "no loss 'xyz'. list_losses"),
        ("dice", {"smoth": 1}, TypeError, "no parameter 'smoth'. Did you mean 'smooth'?"),
        ("ce", {"phi": "I"}, TypeError, "no parameter 'phi'. Its parameters: none"),
        ("dice", {"phi": "IB"}, ValueError, "phi='IB' is not valid: expected one of 'I', 'CI', 'BI', 'BCI'"),
        ("dice", {"smooth": -1}, ValueError, "smooth=-1 is not valid: expected a finite number at least 0"),
        ("dice", {"smooth": float("nan")}, ValueError, "smooth=nan is not valid"),
        ("dice", {"smooth": "1"}, ValueError, "smooth='1' is not valid"),
        ("dice", {"smooth": None}, ValueError, "The default is 1e-05"),
        ("dice", {"squared": 1}, ValueError, "squared=1 is not valid: expected True or False"),
        ("dice", {"include_background": 0}, ValueError, "expected True or False, or None"),
        (
            "topk",
            {"k": 0},
            ValueError,
            "k=0 is not valid: expected a finite number greater than 0 and at most 1",
        ),
        ("topk", {"k": 10}, ValueError, "k=10 is not valid"),
        ("focal", {"gamma": -0.1}, ValueError, "gamma=-0.1 is not valid"),
        ("focal", {"alpha": 1.5}, ValueError, "alpha=1.5 is not valid"),
        ("focal", {"alpha": []}, ValueError, "alpha=\\[\\] is not valid"),
        (
            "weighted_ce",
            {"class_weights": 2},
            ValueError,
            "class_weights=2 is not valid: expected a sequence",
        ),
        ("weighted_ce", {"class_weights": [0, 0]}, ValueError, "not all 0"),
        ("weighted_ce", {"class_weights": [1, -1]}, ValueError, "finite numbers >= 0"),
        ("weighted_ce", {"class_weights": "ab"}, ValueError, "class_weights='ab'"),
        ("tversky", {"fp": 0, "fn": 0}, ValueError, "fp and fn are both 0"),
        ("dice_ce", {"w_dice": 0, "w_ce": 0}, ValueError, "w_dice and w_ce are both 0"),
        ("ce", {"activation": "relu"}, ValueError, "activation='relu' is not valid: expected 'softmax'"),
        ("ce", {"ignore_index": 1.5}, TypeError, "ignore_index=1.5 is not valid"),
        ("ce", {"ignore_index": 1, "activation": "sigmoid"}, ValueError, "give a mask to forward"),
        ("dice_image_eps", {"smooth": 5}, ValueError, "smooth=5 is not valid: expected a sequence"),
        ("focal", {"alpha": [1, 2], "activation": "sigmoid"}, NotImplementedError, "give one number"),
        ("dice_focal", {"alpha": [1, 2], "activation": "sigmoid"}, NotImplementedError, "give one number"),
    ],
)
def test_wrong_settings_are_refused(key, params, error, message):
    with pytest.raises(error, match=message):
        create_loss(key, **params)


def test_weights_may_be_arrays():
    weights = torch.tensor([1.0, 2.0])
    for given in (weights, weights.numpy(), iter([1, 2])):
        assert create_loss("weighted_ce", class_weights=given).params == {"class_weights": (1.0, 2.0)}


def test_representation_shows_every_setting():
    text = repr(create_loss("dice_ce", phi="BI", ignore_index=4))
    assert text == (
        "DiceCELoss(activation='softmax', ignore_index=4, w_dice=1.0, w_ce=1.0, phi='BI', smooth=1e-05, "
        "include_background=None)"
    )
