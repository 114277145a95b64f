"""Gradients that are written by hand against autograd on the plain definitions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from nnunet_losses import false_alarms
from nnunet_losses.erosion import erosion_sums
from nnunet_losses.false_alarms import false_alarm_sum, sum_of_others
from nnunet_losses.pointwise import focal, raised, sum_of
from nnunet_losses.soft_skeleton import skeleton_precision, soft_skeleton
from nnunet_losses.softmax import masked_softmax

SPACES = [(1, 1), (1, 9), (9, 8), (4, 6, 5)]
over_spaces = pytest.mark.parametrize("space", SPACES, ids=str)


def probabilities(space, *, low=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(2, 2, *space, generator=generator, dtype=torch.float64)
    return (low + (1 - low) * values).requires_grad_()


def pool(values, window):
    flat = values.flatten(0, 1)[:, None]
    padding = [size // 2 for size in window]
    return (F.max_pool2d, F.max_pool3d)[len(window) - 2](flat, window, 1, padding)[:, 0].view(values.shape)


def plain_skeleton(values, iterations):
    axes = values.ndim - 2
    crosses = [[3 if axis == other else 1 for other in range(axes)] for axis in range(axes)]

    def erode(x):
        return torch.stack([-pool(-x, window) for window in crosses]).amin(0)

    def ridge(x):
        return (x - pool(erode(x), [3] * axes)).relu()

    skeleton = ridge(values)
    for _ in range(iterations):
        values = erode(values)
        skeleton = skeleton + (ridge(values) - skeleton * ridge(values)).relu()
    return skeleton


@over_spaces
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_soft_skeleton_and_its_gradient(space, iterations):
    values, truth = probabilities(space), (probabilities(space, seed=1) < 0.4).double()
    expected = plain_skeleton(values, iterations)
    torch.testing.assert_close(soft_skeleton(values, iterations), expected.detach())
    weights = torch.arange(1.0, 5, dtype=torch.float64).view(2, 2)
    share = ((expected * truth).flatten(2).sum(2) + 0.1) / (expected.flatten(2).sum(2) + 0.1)
    found = skeleton_precision(values, truth, iterations=iterations, smooth=0.1)
    torch.testing.assert_close(found, share)
    gradients = [torch.autograd.grad((item * weights).sum(), values)[0] for item in (found, share)]
    torch.testing.assert_close(*gradients)


def test_a_plateau_hands_its_gradient_on_undivided():
    values = torch.full((1, 1, 5, 5), 0.5)
    values[..., 2, 2] = 0.75  # a peak on a plateau: its ridge is 0.25, minus any voxel of the plateau
    values.requires_grad_()
    truth = torch.zeros(1, 1, 5, 5)
    (gradient,) = torch.autograd.grad(
        skeleton_precision(values, truth, iterations=0, smooth=1.0).sum(), values
    )
    assert gradient[0, 0, 2, 2] == pytest.approx(-1 / 1.25**2)  # d/dS of 1 / (S + 1)
    assert gradient.sum() == pytest.approx(0, abs=1e-6)


def plain_erosions(errors, valid, factors):
    axes = errors.ndim - 2
    kernel = torch.zeros([3] * axes, dtype=errors.dtype)
    for axis in range(axes):
        kernel[tuple(slice(None) if axis == other else 1 for other in range(axes))] = 1
    kernel /= kernel.sum()
    total = 0
    for factor in factors:
        flat = errors.flatten(0, 1)[:, None]
        mean = (F.conv2d, F.conv3d)[axes - 2](flat, kernel[None, None], padding=1)[:, 0].view(errors.shape)
        eroded = (mean - 0.5).clamp_min(0).flatten(2)
        low, high = eroded.amin(2, keepdim=True), eroded.amax(2, keepdim=True)
        errors = torch.where(high == low, eroded, (eroded - low) / torch.where(high == low, 1, high - low))
        errors = errors.view(mean.shape)
        total = total + factor * (errors * valid).flatten(2).sum(2)
    return total


@over_spaces
@pytest.mark.parametrize("low", [0.0, 0.55, 0.9])
@pytest.mark.parametrize("masked", [False, True])
def test_erosions_and_their_gradient(space, low, masked):
    errors = probabilities(space, low=low)
    valid = probabilities(space, seed=1)[:, :1] < 0.7 if masked else None
    counted = torch.ones(1, dtype=torch.float64) if valid is None else valid
    expected = plain_erosions(errors, counted, [1.0, 4.0, 9.0])
    found = erosion_sums(errors, valid, erosions=3, alpha=2)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(item.sum(), errors)[0] for item in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_erosions_of_turned_maps():
    """Logits whose axes were swapped hand their strides on to the errors."""
    errors = probabilities((4, 6, 5), low=0.2)
    turned = errors.detach().mT.contiguous().mT.requires_grad_()
    assert not turned.is_contiguous()
    values = [erosion_sums(item, None, erosions=2, alpha=2) for item in (errors, turned)]
    gradients = [
        torch.autograd.grad(*pair)[0]
        for pair in zip([v.sum() for v in values], (errors, turned), strict=True)
    ]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_false_alarms_by_sums_are_those_by_logarithms(classes, masked, scale, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(2, classes, 6, 5, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    valid = torch.rand(2, 1, 6, 5, generator=generator) < 0.7 if masked else None
    labels = torch.randint(0, classes, (2, 1, 6, 5), generator=generator)
    truth = torch.zeros_like(logits).scatter_(1, labels, 1) * (1 if valid is None else valid)
    results = []
    for safe in (80, -1):
        monkeypatch.setattr(false_alarms, "_SAFE", safe)
        value = false_alarm_sum(logits, masked_softmax(logits, valid), truth, valid)
        results.append((value.detach(), torch.autograd.grad(value, logits)[0]))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-12)


def test_sums_of_others_do_not_cancel():
    maps = torch.tensor([2.0**24, 2.0, 4.0]).view(1, 3, 1)
    assert sum_of_others(maps).flatten().tolist() == [6.0, 2.0**24 + 4, 2.0**24 + 2]


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0, 2.5])
def test_slopes_of_voxel_losses(gamma):
    losses = (probabilities((4, 5)).detach() * 5 + 1e-3).requires_grad_()
    functions = [lambda c: focal(c, gamma), lambda c: raised(c, gamma, 1e-7)]
    for function in functions:
        assert torch.autograd.gradcheck(lambda c, function=function: sum_of(c, function), (losses,))
    nothing = torch.zeros(3, requires_grad=True)
    for function in functions:
        value = sum_of(nothing, function)
        assert value.isfinite()
        assert torch.autograd.grad(value, nothing)[0].isfinite().all()
