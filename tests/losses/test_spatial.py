"""Losses with distances, components and skeletons against their definitions, written out voxel by voxel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from nnunet_losses import create_loss, geometry
from nnunet_losses.segments import Segments

from . import brute_force
from .helpers import certain, logits_for, some_mask, truth, value_and_gradient

over_activations = pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
over_spaces = pytest.mark.parametrize("space", [(9, 8), (4, 6, 5)], ids=["2d", "3d"])
over_masks = pytest.mark.parametrize("masked", [False, True])


def sparse_batch(activation, space, *, share=0.12, seed=0):
    """Three samples with small components, the second one without foreground."""
    generator = torch.Generator().manual_seed(seed)
    if activation == "sigmoid":
        target = torch.rand(3, 3, *space, generator=generator) < share
    else:
        drawn = torch.rand(3, 1, *space, generator=generator)
        target = (drawn < share).long() + (drawn < share / 2)
    target[1] = 0
    return logits_for((3, *space), seed=seed + 1).detach().double().requires_grad_(), target


def by_map(activation, logits, target, mask):
    """Yield p, y, cross-entropy, valid of each sample and foreground class; ignored voxels are background."""
    valid = torch.ones_like(target[:, :1], dtype=torch.bool) if mask is None else mask
    if activation == "softmax":
        p, losses = (
            logits.softmax(1),
            torch.nn.functional.cross_entropy(logits, target[:, 0], reduction="none")[:, None],
        )
        classes = range(1, logits.shape[1])
        y = [(target[:, 0] == c) for c in classes]
        losses = [losses[:, 0]] * len(y)
    else:
        p = logits.sigmoid()
        bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.double(), reduction="none")
        classes, y, losses = range(3), list(target.unbind(1)), list(bce.unbind(1))
    for sample in range(len(logits)):
        for index, c in enumerate(classes):
            v = valid[sample, 0]
            yield p[sample, c], y[index][sample] & v, losses[index][sample], v


def dice_ce(p, y, losses, where, smooth=1e-5):
    overlap = (2 * (p * y)[where].sum() + smooth) / (p[where].sum() + y[where].sum() + smooth)
    return 1 - overlap + (losses[where].mean() if where.any() else 0)


@over_activations
@over_spaces
@over_masks
@pytest.mark.parametrize("key", ["blob_dice", "blob_dice_ce"])
def test_blob_loss_component_by_component(key, activation, space, masked):
    logits, target = sparse_batch(activation, space)
    mask = some_mask((3, *space)) if masked else None
    means = []
    for p, y, losses, valid in by_map(activation, logits, target, mask):
        ids = torch.from_numpy(brute_force.components(y.numpy()))
        values = [
            dice_ce(
                p,
                ids == k,
                losses if key == "blob_dice_ce" else 0 * losses,
                valid & ((ids == 0) | (ids == k)),
            )
            for k in range(1, int(ids.max()) + 1)
        ]
        if values:
            means.append(torch.stack(values).mean())
    found = value_and_gradient(create_loss(key, activation=activation, w_global=0), logits, target, mask)
    expected = torch.stack(means).mean()
    torch.testing.assert_close(found, (expected.detach(), torch.autograd.grad(expected, logits)[0]))


@over_activations
@over_spaces
@over_masks
def test_component_loss_cell_by_cell(activation, space, masked):
    spacing = (1.0, 1.137, 0.9083)[-len(space) :]
    logits, target = sparse_batch(activation, space)
    mask = some_mask((3, *space)) if masked else None
    means = []
    for p, y, losses, valid in by_map(activation, logits, target, mask):
        cells = torch.from_numpy(geometry.voronoi_cells(geometry.components(y.numpy()), spacing))
        means.append(
            torch.stack([dice_ce(p, y, losses, valid & (cells == k)) for k in cells.unique()]).mean()
        )
    loss = create_loss("cc_dice_ce", activation=activation, spacing=spacing)
    expected = torch.stack(means).mean()
    found = value_and_gradient(loss, logits, target, mask)
    torch.testing.assert_close(
        found, (expected.detach(), torch.autograd.grad(expected, logits)[0]), rtol=1e-6, atol=1e-9
    )


@over_masks
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_cat_and_mil_component_by_component(activation, masked):
    logits, target = sparse_batch("softmax", (9, 8))
    mask = some_mask((3, 9, 8)) if masked else torch.ones(3, 1, 9, 8, dtype=torch.bool)
    p = logits.softmax(1)[:, 1:].sum(1)
    y = (target > 0)[:, 0] & mask[:, 0]
    if activation == "sigmoid":  # one region
        logits, target = p.detach().logit()[:, None], (target > 0)
    cat, mil = [], []
    for sample in range(3):
        ids = brute_force.components(y[sample].numpy(), faces_only=True)
        sizes = np.bincount(ids.ravel())
        weights = torch.from_numpy(np.where(ids > 0, 1 / (sizes[ids] + 5), 0.01)) * mask[sample, 0]
        tp, fp, fn = (
            (weights * item).sum()
            for item in (p[sample] * y[sample], p[sample] * ~y[sample], (1 - p[sample]) * y[sample])
        )
        cat.append(1 - (tp + 1e-5) / (tp + 0.3 * fp + 0.7 * fn + 1e-5))
        mil += [-p[sample][torch.from_numpy(ids == k)].max().log() for k in range(1, len(sizes))]
    loss = create_loss("cat_mil", activation=activation, w_cat=0.3, w_mil=0.7, warmup=10)
    loss.set_epoch(5, 10)
    base = create_loss("dice_ce", activation=activation)(logits, target, mask)
    expected = base + 0.15 * torch.stack(cat).mean() + 0.7 * torch.stack(mil).mean()
    torch.testing.assert_close(loss(logits, target, mask), expected)


def test_cat_mil_is_for_one_region():
    with pytest.raises(NotImplementedError, match="one region"):
        create_loss("cat_mil", activation="sigmoid")(
            torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4, dtype=torch.bool)
        )


def test_marginal_dice_is_for_exclusive_classes():
    with pytest.raises(NotImplementedError, match="sigmoid"):
        create_loss("marginal_dice", activation="sigmoid")


@pytest.mark.parametrize("key", ["blob_dice", "blob_dice_ce", "cc_dice_ce", "cat_mil"])
def test_a_lesion_of_one_voxel_counts_like_a_large_one(key):
    target = torch.zeros(1, 1, 24, 24, dtype=torch.long)
    target[..., 2:12, 2:12] = 1
    target[..., 20, 20] = 1
    logits = certain(target, "softmax", classes=2, margin=5.0).detach()
    missed = logits.clone()
    missed[..., 20, 20] *= -1
    params = {} if key == "cat_mil" else {"w_global": 0}
    loss = create_loss(key, smooth=0, **params)
    # One of two components is lost: its own Dice falls from 1 to almost 0, and half of that is seen.
    share = 0.05 if key == "cat_mil" else 0.4
    assert loss(missed, target) - loss(logits, target) > share


@pytest.mark.parametrize("key", ["blob_dice", "blob_dice_ce", "cc_dice_ce"])
def test_many_components(key):
    target = torch.zeros(1, 1, 41, 41, dtype=torch.long)
    target[..., ::2, ::2] = 1  # 441 components of one voxel
    loss = create_loss(key)
    value, gradient = value_and_gradient(loss, logits_for((1, 41, 41), classes=2), target)
    assert value.isfinite()
    assert gradient.isfinite().all()
    recipe = loss.geometry_recipe(2)
    assert (
        recipe(target[0])["component_sizes" if key != "cc_dice_ce" else "cell_component_sizes"] == 1
    ).sum() == 441


def test_spacing_scales_distances():
    logits, target = sparse_batch("softmax", (9, 8))
    for key, power in (
        ("boundary", 1),
        ("hausdorff_one_sided", 2),
        ("hausdorff_dt", 2),
        ("generalized_surface", 0),
        ("dpce", 0),
    ):
        value = create_loss(key, **({"smooth": 0} if power == 0 and key != "dpce" else {}))(logits, target)
        scaled = create_loss(key, spacing=(2, 2), **({"smooth": 0} if power == 0 and key != "dpce" else {}))(
            logits, target
        )
        torch.testing.assert_close(scaled, value * 2**power)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("key", ["boundary", "hausdorff_one_sided", "hausdorff_dt"])
def test_absent_and_filling_classes_have_no_distance(key, value):
    target = torch.full((1, 1, 6, 6), value)
    near_truth = (2 * target - 1) * torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 6, 6)
    assert create_loss(key)(near_truth, target) == 0


def test_a_false_positive_of_an_absent_class_costs_surface_loss():
    target = torch.zeros(1, 1, 6, 6, dtype=torch.long)
    gradient = value_and_gradient(create_loss("generalized_surface"), torch.zeros(1, 2, 6, 6), target)[1]
    assert (gradient[:, 1] > 0).all()


def test_erosion_loss_sees_a_thick_error_only():
    target = torch.zeros(1, 1, 9, 9, dtype=torch.long)
    loss = create_loss("hausdorff_er")
    thin, thick = target.clone(), target.clone()
    thin[..., 4, 4], thick[..., 2:7, 2:7] = 1, 1
    assert loss(certain(thin, "softmax", classes=2), target) == 0
    logits = certain(thick, "softmax", classes=2, margin=2.0)
    value, gradient = value_and_gradient(loss, logits, target)
    assert loss(logits - 0.01 * gradient / gradient.abs().max(), target) < value


def test_skeleton_recall_of_a_filled_tube_is_perfect():
    target = torch.zeros(1, 1, 12, 30, dtype=torch.long)
    target[..., 5:8, 2:28] = 1
    right = create_loss("skeleton_recall")(certain(target, "softmax", classes=2), target)
    assert right.item() == pytest.approx(0, abs=1e-5)
    gap = target.clone()
    gap[..., 10:14] = 0
    base = create_loss("dice_ce")
    broken = certain(gap, "softmax", classes=2).detach()
    recall_loss = create_loss("skeleton_recall")(broken, target) - base(broken, target)
    assert recall_loss.item() == pytest.approx(4 / 26, rel=0.1)


def test_labelled_classes_alone_have_a_gradient():
    logits, target = logits_for((2, 6, 5)), truth("softmax", (2, 6, 5))
    labelled = torch.tensor([[True, True, False], [False, False, False]])
    leaf = create_loss("leaf_dice")
    value = leaf(logits, target, labelled=labelled)
    p, y = logits.softmax(1)[0, 1], (target == 1)[0, 0]
    torch.testing.assert_close(value, 1 - 2 * (p * y).sum() / (p.sum() + y.sum()))
    gradient = torch.autograd.grad(value, logits)[0]
    assert gradient[0].any()
    assert not gradient[1].any()
    nothing = leaf(logits, target, labelled=torch.zeros(2, 3, dtype=torch.bool))
    assert nothing == 0
    assert not torch.autograd.grad(nothing, logits)[0].any()


def test_marginal_dice_merges_unlabelled_classes():
    logits, target = logits_for((2, 6, 5)), truth("softmax", (2, 6, 5))
    labelled = torch.tensor([[False, True, False]]).expand(2, 3)
    merged = torch.stack([logits[:, [0, 2]].logsumexp(1), logits[:, 1]], 1)
    two_classes = create_loss("dice", include_background=True)(merged, (target == 1).long())
    torch.testing.assert_close(create_loss("marginal_dice")(logits, target, labelled=labelled), two_classes)


@pytest.mark.parametrize("key", ["leaf_dice", "marginal_dice"])
def test_wrong_labelled_is_refused(key):
    with pytest.raises(ValueError, match=r"labelled has shape \(3,\); expected \(2, 3\)"):
        create_loss(key)(logits_for((2, 4, 4)), truth("softmax", (2, 4, 4)), labelled=torch.ones(3))


def test_ratio_follows_the_last_epoch():
    loss, (logits, target) = create_loss("dice_hausdorff"), sparse_batch("softmax", (9, 8))

    def parts(*scales):
        values = [
            [create_loss(key)(scale * logits, target).item() for scale in scales]
            for key in ("hausdorff_dt", "dice")
        ]
        return sum(values[0]) / sum(values[1])

    loss.set_epoch(0, 5)
    loss(logits, target)
    loss(2 * logits, target)
    with torch.no_grad():
        loss(5 * logits, target)  # validation
    loss.eval()(7 * logits, target)
    loss.train().set_epoch(1, 5)
    assert loss.weights["dice"] == pytest.approx(parts(1, 2), rel=1e-6)
    loss.set_epoch(1, 5)  # said twice
    assert loss.weights["dice"] == pytest.approx(parts(1, 2), rel=1e-6)
    resumed = create_loss("dice_hausdorff")
    resumed.load_state_dict(loss.state_dict())
    resumed.set_epoch(1, 5)
    assert torch.equal(resumed(logits, target), loss(logits, target))
    loss.set_epoch(2, 5)  # the step above was its epoch
    assert loss.weights["dice"] == pytest.approx(parts(1), rel=1e-6)
    loss.set_epoch(3, 5)  # nothing was trained
    assert loss.weights["dice"] == pytest.approx(parts(1), rel=1e-6)


@pytest.mark.parametrize(
    ("schedule", "epoch", "epochs", "dice", "boundary"),
    [
        ("rebalance", 0, 1000, 1, 0),
        ("rebalance", 25, 1000, 0.75, 0.25),
        ("rebalance", 700, 1000, 0.01, 0.99),
        ("rebalance_relative", 0, 150, 1, 0),
        ("rebalance_relative", 149, 150, 0.01, 0.99),
        ("rebalance_relative", 0, 1, 1, 0),
        ("constant", 9, 10, 1, 0.01),
        ("increase", 0, 10, 1, 0.01),
        ("increase", 400, 1000, 1, 1),
    ],
)
def test_boundary_schedules(schedule, epoch, epochs, dice, boundary):
    loss = create_loss("dice_boundary", schedule=schedule)
    loss.set_epoch(epoch, epochs)
    assert loss.weights == pytest.approx({"dice": dice, "boundary": boundary})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_segments(dtype):
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 5, (2, 3, 200, 100), generator=generator, dtype=torch.int32)
    ids[1, 1] = 0
    values = torch.rand(2, 1, 200, 100, generator=generator, dtype=dtype).requires_grad_()
    segments = Segments(ids, 6)
    for found, reduce in ((segments.sums(values), "sum"), (segments.maxima(values), "amax")):
        expected = torch.zeros(2, 3, 6, dtype=torch.float64).scatter_reduce(
            2, ids.flatten(2).long(), values.double().expand(ids.shape).flatten(2), reduce
        )
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
        assert found.dtype == dtype
        weights = torch.rand(found.shape, generator=generator, dtype=dtype)
        gradients = [torch.autograd.grad((item * weights).sum(), values)[0] for item in (found, expected)]
        torch.testing.assert_close(*gradients)


def test_sums_of_millions_of_voxels_stay_exact():
    for shape in ((3, 2**20), (2**10, 2**12), (128, 128, 128)):
        values = torch.full((1, 1, *shape), 0.1)
        found = Segments(torch.zeros(values.shape, dtype=torch.int32), 1).sums(values)
        assert found.item() == pytest.approx(0.1 * math.prod(shape), rel=2e-6)


def test_equal_maxima_share_the_gradient():
    values = torch.tensor([[[[0.5, 0.5, 0.2]]]], requires_grad=True)
    Segments(torch.zeros(1, 1, 1, 3, dtype=torch.int32), 1).maxima(values).sum().backward()
    assert values.grad.tolist() == [[[[0.5, 0.5, 0.0]]]]


def test_all_ignored_sample_beside_another_one():
    logits, target = sparse_batch("softmax", (9, 8))
    mask = torch.ones(3, 1, 9, 8, dtype=torch.bool)
    mask[0] = False
    for key in (
        "boundary",
        "hausdorff_dt",
        "generalized_surface",
        "blob_dice_ce",
        "cc_dice_ce",
        "cat_mil",
        "cldice",
        "skeleton_recall",
    ):
        value, gradient = value_and_gradient(create_loss(key), logits, target, mask)
        assert math.isfinite(value)
        assert not gradient[0].any()
