"""Laws that every registered loss keeps, parametrised over the registry: no entry can be added untested."""

from __future__ import annotations

import copy
import pickle
from itertools import product

import pytest
import torch

from nnunet_losses import get_loss_spec, list_losses

from .helpers import (
    VARIANTS,
    Case,
    certain,
    class_axis,
    logits_for,
    over_cases,
    some_mask,
    truth,
    value_and_gradient,
)

SPACES = {"2d": (7, 6), "3d": (3, 5, 4)}
over_spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)

# These select or weigh within the batch, so that their value is not the mean of the samples' values.
POOL_THE_BATCH = {
    "topk",
    "dice_topk",
    "weighted_ce",
    "dice_batch",
    "dice_all",
    "exp_log",
    "lovasz",
    "cat_mil",
}

# Without a gradient where errors are thin; see test_spatial.
FLAT = {"hausdorff_er"}

# The order of voxels decides here: on a voxel between two components, and on what thinning leaves.
NOT_SYMMETRIC = {"cc_dice_ce", "skeleton_recall"}

# These must be saved to resume a training.
WITH_STATE = {"dice_hausdorff": {"dice_weight", "totals", "epoch"}}


def test_variants_belong_to_registered_losses():
    assert set(VARIANTS) <= set(list_losses())


def target_of(kind: str, activation: str, shape: tuple[int, ...]) -> torch.Tensor:
    target = torch.zeros_like(truth(activation, shape))
    if kind == "full":
        target[:, -1:] = 1 if activation == "softmax" else True
    if kind == "one_voxel":
        target[(0, -1, *[0] * (len(shape) - 1))] = 1
    return target


@over_cases
@over_spaces
def test_value_and_gradient_are_finite(case: Case, space):
    shape = (2, *space)
    for kind, scale in product(("empty", "full", "one_voxel"), (1.0, 1e4)):
        target = target_of(kind, case.activation, shape)
        value, gradient = value_and_gradient(case.create(), logits_for(shape, scale=scale), target)
        assert value.isfinite(), (kind, scale)
        assert gradient.isfinite().all(), (kind, scale)


@over_cases
@over_spaces
def test_perfect_prediction_is_finite_and_the_minimum(case: Case, space):
    target = truth(case.activation, (2, *space))
    loss = case.create()
    best, gradient = value_and_gradient(loss, certain(target, case.activation), target)
    assert gradient.isfinite().all()
    minimum = get_loss_spec(case.key).minimum
    if minimum is not None:
        assert best == pytest.approx(minimum, abs=1e-5)
    for seed in range(5):
        assert loss(logits_for((2, *space), seed=seed), target) >= best


@over_cases
def test_a_gradient_step_lowers_the_loss(case: Case):
    if case.key in FLAT:
        return
    shape = (2, 6, 5)
    target = truth(case.activation, shape)
    logits = logits_for(shape, scale=0.5)
    value, gradient = value_and_gradient(case.create(), logits, target)
    step = 1e-2 * gradient / gradient.abs().max()
    assert case.create()(logits - step, target) < value


@over_cases
@over_spaces
def test_one_voxel_patch(case: Case, space):
    shape = (1, *[1] * len(space))
    value, gradient = value_and_gradient(case.create(), logits_for(shape), truth(case.activation, shape))
    assert value.isfinite()
    assert gradient.isfinite().all()


@over_cases
@over_spaces
def test_all_ignored_is_zero_but_connected(case: Case, space):
    shape = (2, *space)
    mask = torch.zeros(2, 1, *space, dtype=torch.bool)
    value, gradient = value_and_gradient(
        case.create(), logits_for(shape), truth(case.activation, shape), mask
    )
    assert value == 0
    assert (gradient == 0).all()


@over_cases
@over_spaces
def test_ignored_voxels_have_no_influence(case: Case, space):
    shape = (2, *space)
    target, logits, mask = truth(case.activation, shape), logits_for(shape), some_mask((2, *space))
    value, gradient = value_and_gradient(case.create(), logits, target, mask)
    hidden = (~mask).expand_as(logits)
    assert hidden.any()
    assert (gradient[hidden] == 0).all()
    assert gradient[~hidden].abs().sum() > 0
    changed = torch.where(mask, target, ~target if target.dtype == torch.bool else 77)
    for garbage in (1e4, float("nan"), float("inf")):
        other = logits.detach().masked_fill(hidden, garbage)
        again, same_gradient = value_and_gradient(case.create(), other, changed, mask)
        assert torch.equal(value, again), garbage
        assert torch.equal(gradient, same_gradient), garbage


@over_cases
def test_ignore_index_is_a_mask(case: Case):
    shape = (2, 7, 6)
    target, logits, mask = truth(case.activation, shape).to(torch.int16), logits_for(shape), some_mask(shape)
    labelled = torch.where(mask, target, 7)
    by_mask = value_and_gradient(case.create(), logits, target, mask)
    by_label = value_and_gradient(case.create(ignore_index=7), logits, labelled)
    assert torch.equal(by_mask[0], by_label[0])
    assert torch.equal(by_mask[1], by_label[1])


@over_cases
def test_mask_and_ignore_index_combine(case: Case):
    shape = (2, 7, 6)
    target, logits = truth(case.activation, shape).to(torch.int16), logits_for(shape)
    first, second = some_mask(shape, seed=3), some_mask(shape, seed=4)
    loss = case.create(ignore_index=7)
    both = loss(logits, torch.where(first, target, 7), second)
    assert torch.equal(both, case.create()(logits, target, first & second))


@over_cases
def test_a_full_mask_changes_nothing(case: Case):
    shape = (2, 7, 6)
    target, logits = truth(case.activation, shape), logits_for(shape)
    without = value_and_gradient(case.create(), logits, target)
    with_mask = value_and_gradient(case.create(), logits, target, torch.ones(2, 1, 7, 6))
    torch.testing.assert_close(with_mask, without)


@over_cases
@over_spaces
def test_batch_is_the_mean_of_its_samples(case: Case, space):
    if case.key in POOL_THE_BATCH or dict(case.params).get("phi", "I") in ("BI", "BCI"):
        return
    target, logits = truth(case.activation, (3, *space)), logits_for((3, *space))
    loss = case.create()
    single = torch.stack([loss(logits[i : i + 1], target[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(logits, target), single.mean())


@over_cases
def test_order_of_samples_and_direction_of_space_do_not_matter(case: Case):
    target, logits = truth(case.activation, (3, 7, 6)), logits_for((3, 7, 6))
    loss = case.create()
    value = loss(logits, target)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(loss(logits[order], target[order]), value)
    if case.key in NOT_SYMMETRIC:
        return
    torch.testing.assert_close(loss(logits.flip(2), target.flip(2)), value)
    torch.testing.assert_close(loss(logits.mT, target.mT), value)


@over_cases
def test_names_of_foreground_classes_do_not_matter(case: Case):
    if any(isinstance(value, list) for _, value in case.params):
        return  # weights belong to classes
    target, logits = truth(case.activation, (2, 7, 6)), logits_for((2, 7, 6))
    order = torch.tensor([0, 2, 1])
    renamed = target[:, order] if case.activation == "sigmoid" else order[target.long()]
    loss = case.create()
    torch.testing.assert_close(loss(logits[:, order], renamed), loss(logits, target))


@over_cases
def test_half_precision_logits_are_computed_in_float32(case: Case):
    target = truth(case.activation, (2, 7, 6))
    for dtype in (torch.float16, torch.bfloat16):
        logits = logits_for((2, 7, 6)).detach().to(dtype)
        value, gradient = value_and_gradient(case.create(), logits, target)
        exact, exact_gradient = value_and_gradient(case.create(), logits.float(), target)
        assert value.dtype == torch.float32
        assert torch.equal(value, exact)
        assert torch.equal(gradient, exact_gradient.to(dtype))


@over_cases
def test_autocast_does_not_reach_inside(case: Case):
    target, logits = truth(case.activation, (2, 7, 6)), logits_for((2, 7, 6))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = value_and_gradient(case.create(), logits, target)
    outside = value_and_gradient(case.create(), logits, target)
    assert torch.equal(inside[0], outside[0])
    assert torch.equal(inside[1], outside[1])


@over_cases
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(case: Case, masked):
    shape = (2, 3, 4)
    target, logits = truth(case.activation, shape), logits_for(shape).detach().double().requires_grad_()
    mask = some_mask(shape) if masked else None
    loss = case.create()
    assert torch.autograd.gradcheck(lambda leaf: loss(leaf, target, mask), (logits,))


@over_cases
def test_memory_layout_does_not_matter(case: Case):
    target, logits = truth(case.activation, (2, 4, 6, 5)), logits_for((2, 4, 6, 5))
    expected = value_and_gradient(case.create(), logits, target)
    channels_last = logits.detach().contiguous(memory_format=torch.channels_last_3d)
    strided = torch.zeros(*logits.shape[:-1], 10)[..., ::2].copy_(logits.detach())
    spread = torch.zeros(*target.shape[:-1], 10, dtype=target.dtype)[..., ::2].copy_(target)
    turned = logits.detach().mT.contiguous().mT
    for other in (channels_last, strided, turned):
        assert not other.is_contiguous()
        leaf = other.requires_grad_()
        value = case.create()(leaf, spread)
        value.backward()
        torch.testing.assert_close((value.detach(), leaf.grad), expected)


@over_cases
def test_dtype_of_the_target_does_not_matter(case: Case):
    target, logits = truth(case.activation, (2, 7, 6)), logits_for((2, 7, 6))
    expected = case.create()(logits, target)
    for name in ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"):
        assert torch.equal(case.create()(logits, target.to(getattr(torch, name))), expected), name


@over_cases
def test_one_hot_is_the_same_as_ids(case: Case):
    if case.activation == "sigmoid":
        return  # regions are channels already
    target, logits = truth("softmax", (2, 7, 6)), logits_for((2, 7, 6))
    one_hot = target.long() == class_axis(target, 3)
    assert torch.equal(case.create()(logits, one_hot), case.create()(logits, target))
    ignoring = case.create(ignore_index=1)  # one of the classes
    assert torch.equal(ignoring(logits, one_hot), ignoring(logits, target))
    assert torch.equal(ignoring(logits, one_hot.float()), ignoring(logits, target))


@over_cases
def test_inputs_are_left_alone(case: Case):
    target, logits, mask = truth(case.activation, (2, 7, 6)), logits_for((2, 7, 6)), some_mask((2, 7, 6))
    before = [tensor.detach().clone() for tensor in (logits, target, mask)]
    case.create()(logits, target, mask).backward()
    assert all(
        torch.equal(now.detach(), then) for now, then in zip((logits, target, mask), before, strict=True)
    )


@over_cases
def test_loss_is_a_plain_module(case: Case):
    target, logits = truth(case.activation, (2, 7, 6)), logits_for((2, 7, 6))
    loss = case.create()
    loss.set_epoch(0, 10)
    assert set(loss.state_dict()) == WITH_STATE.get(case.key, set())
    assert torch.float64 not in {item.dtype for item in loss.buffers()}  # Apple's GPUs have none
    assert case.activation in repr(loss)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(logits, target), loss(logits, target))
