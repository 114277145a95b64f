"""What workers make and what losses make themselves is the same."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from nnunet_losses import create_loss, get_loss_spec, list_losses
from nnunet_losses.geometry.maps import MAPS, make_maps
from nnunet_losses.geometry.recipe import GeometryRecipe

from .helpers import class_axis, logits_for, some_mask, truth, value_and_gradient

SPATIAL = [key for key in list_losses() if get_loss_spec(key).geometry]
over_keys = pytest.mark.parametrize("key", SPATIAL)
over_activations = pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
over_spaces = pytest.mark.parametrize("space", [(9, 8), (4, 6, 5)], ids=["2d", "3d"])


def batch(key, activation, space, *, empty=False):
    classes = get_loss_spec(key).regions or 3 if activation == "sigmoid" else 3
    shape = (3, *space)
    target = truth(activation, shape, classes=classes)
    target[1] = 0  # a sample without foreground
    return logits_for(shape, classes=classes), target * (not empty)


def made_by_workers(loss, target, mask, channels):
    recipe = pickle.loads(pickle.dumps(loss.geometry_recipe(channels)))
    masks = [None] * len(target) if mask is None else mask
    return recipe.collate([recipe(*pair) for pair in zip(target, masks, strict=True)])


@over_keys
@over_activations
@over_spaces
@pytest.mark.parametrize("masked", [False, True])
def test_given_and_computed_geometry_are_equal(key, activation, space, masked):
    logits, target = batch(key, activation, space)
    mask = some_mask((3, *space)) if masked else None
    params = {"spacing": (3.0, 1.0, 0.7)[: len(space)]} if "spacing" in get_loss_spec(key).parameters else {}
    loss = create_loss(key, activation=activation, **params)
    geometry = made_by_workers(loss, target, mask, logits.shape[1])
    computed, given = (
        value_and_gradient(loss, logits, target, mask),
        value_and_gradient(loss, logits, target, mask, geometry),
    )
    assert torch.equal(given[0], computed[0])
    assert torch.equal(given[1], computed[1])


@over_keys
def test_ignore_label_and_one_hot_targets_give_the_same_geometry(key):
    _, target = batch(key, "softmax", (9, 8))
    mask = some_mask((3, 9, 8))
    ignoring = create_loss(key, ignore_index=7)
    one_hot = target.long() == class_axis(target, 3)
    expected = made_by_workers(create_loss(key), target, mask, 3)
    for geometry in (
        made_by_workers(ignoring, target.masked_fill(~mask, 7), None, 3),
        made_by_workers(create_loss(key), one_hot, mask, 3),
        made_by_workers(create_loss(key), target.masked_fill(~mask, -1), mask, 3),
    ):
        assert all(torch.equal(geometry[name], expected[name]) for name in expected.maps)


@over_keys
@over_activations
def test_batch_without_any_foreground(key, activation):
    logits, target = batch(key, activation, (9, 8), empty=True)
    loss = create_loss(key, activation=activation)
    value, gradient = value_and_gradient(
        loss, logits, target, None, made_by_workers(loss, target, None, logits.shape[1])
    )
    assert value.isfinite()
    assert gradient.isfinite().all()


@over_keys
def test_geometry_of_another_batch_is_refused(key):
    logits, target = batch(key, "softmax", (9, 8))
    loss = create_loss(key)
    geometry = made_by_workers(loss, target, None, 3)
    with pytest.raises(ValueError, match="geometry_recipe"):
        loss(logits[:2], target[:2], None, geometry)
    with pytest.raises(ValueError, match="geometry_recipe"):
        loss(logits[..., :-1], target[..., :-1], None, geometry)
    with pytest.raises(ValueError, match="has no"):
        loss(logits, target, None, GeometryRecipe((), 3).collate([{"other": np.zeros((1, 9, 8))}] * 3))


def test_every_map_is_reached_by_a_recipe_and_unknown_ones_are_refused():
    target = truth("softmax", (1, 9, 8))
    maps = GeometryRecipe(tuple(MAPS), 3)(target[0])
    assert set(MAPS) <= set(maps)
    with pytest.raises(ValueError, match="no geometry map 'distances'"):
        make_maps(("distances",), None)


def test_spacing_must_fit_the_batch():
    loss = create_loss("boundary", spacing=(1.0, 1.0, 2.0))
    with pytest.raises(ValueError, match="2 spatial axes"):
        loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.int16))


@pytest.mark.parametrize(
    "spacing", [(1.0, 0.0), (1.0,), (1, 1, 1, 1), (1.0, -2.0), "12", 3.0, (1.0, float("nan"))]
)
def test_wrong_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing="):
        create_loss("boundary", spacing=spacing)


def test_smaller_scale_has_larger_spacing():
    recipe = create_loss("boundary", spacing=(3.0, 1.0)).geometry_recipe(2)
    assert recipe.scaled((1, 2)).spacing == (3.0, 2.0)
    assert create_loss("boundary").geometry_recipe(2).scaled((2, 2)).spacing == (2, 2)


@pytest.mark.parametrize("key", ["hausdorff_dt", "dice_hausdorff"])
def test_the_prediction_is_measured_in_the_spacing_of_the_geometry(key):
    logits, target = batch(key, "softmax", (9, 8))
    coarse, fine = create_loss(key, spacing=(2.0, 3.0)), create_loss(key)
    recipe = fine.geometry_recipe(3).scaled((2.0, 3.0))
    geometry = recipe.collate([recipe(sample) for sample in target])
    assert torch.equal(fine(logits, target, None, geometry), coarse(logits, target))


def test_geometry_moves():
    loss = create_loss("blob_dice")
    geometry = made_by_workers(loss, truth("softmax", (2, 5, 5)), None, 3)
    moved = geometry.to("meta", non_blocking=True)
    assert moved["components"].device.type == "meta"
    assert moved.spacing == geometry.spacing
