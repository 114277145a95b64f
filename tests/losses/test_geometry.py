"""Distance maps, components, cells and skeletons against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, generate_binary_structure
from scipy.ndimage import label as number_components
from skimage.morphology import skeletonize

from nnunet_losses import geometry
from nnunet_losses.boundary_dou import boundary_sizes
from nnunet_losses.geometry import morphology
from nnunet_losses.prediction_distance import REACH, mask_distance, near_distance
from nnunet_losses.soft_skeleton import soft_skeleton

from . import brute_force

SPACES = {"2d": ((11, 9), (1.0, 1.0)), "2d aniso": ((8, 13), (0.7, 2.3)), "3d": ((5, 8, 7), (1.0, 1.0, 1.0)),
          "3d aniso": ((6, 5, 9), (3.0, 1.0, 1.137)), "flat": ((1, 6, 8), (5.0, 0.5, 0.4))}  # fmt: skip
over_spaces = pytest.mark.parametrize(("shape", "spacing"), SPACES.values(), ids=SPACES)
over_shares = pytest.mark.parametrize("share", [0.02, 0.3, 0.9])


def random_mask(shape, share, seed=0):
    mask = np.random.default_rng(seed).random(shape) < share
    mask.flat[len(mask.flat) // 3] = True  # one voxel at least
    return mask


def blobs(shape, *, level=0.05, sigma=2.0, seed=0):
    return gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma) > level


@over_spaces
@over_shares
def test_distance(shape, spacing, share):
    mask = random_mask(shape, share)
    expected = brute_force.distance(mask, spacing)
    found = geometry.distance_map(mask, spacing)
    assert found.dtype == np.float32
    assert (found > 0).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(
        geometry.distance_map(mask), brute_force.distance(mask, (1,) * mask.ndim), rtol=1e-6
    )


@over_spaces
@over_shares
def test_signed_distance(shape, spacing, share):
    mask = random_mask(shape, share)
    d = brute_force.distance(mask, spacing)
    expected = np.where(mask, -(d - min(spacing)), d)
    np.testing.assert_allclose(geometry.signed_distance_map(mask, spacing), expected, rtol=1e-5, atol=1e-6)


def test_signed_distance_is_zero_on_the_inner_boundary():
    mask = np.zeros((7, 7), bool)
    mask[2:5, 2:5] = True
    signed = geometry.signed_distance_map(mask)
    assert signed[2, 3] == 0
    assert signed[3, 3] == -1
    assert signed[1, 3] == 1


@pytest.mark.parametrize("value", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (4, 5), (2, 3, 4)])
def test_absent_and_filling_masks_have_no_distance(shape, value):
    mask = np.full(shape, value)
    for function in (geometry.distance_map, geometry.signed_distance_map, geometry.boundary_proximity):
        assert not function(mask).any()


@over_spaces
def test_label_distance(shape, spacing):
    labels = np.random.default_rng(0).choice(4, size=shape, p=[0.7, 0.1, 0.1, 0.1])
    found = geometry.label_distance_map(labels, spacing)
    np.testing.assert_allclose(found, brute_force.label_distance(labels, spacing), rtol=1e-6)


@over_spaces
def test_boundary_proximity(shape, spacing):
    labels = np.random.default_rng(1).choice(3, size=shape, p=[0.8, 0.19, 0.01])
    labels.flat[0] = 2
    distances = brute_force.label_distance(labels, spacing)
    found = geometry.boundary_proximity(labels, spacing)
    for label in range(3):
        d = distances[labels == label]
        depth = d.max() - d.min()
        expected = (d.max() - d) / depth if depth > 1e-9 else np.ones_like(d)
        np.testing.assert_allclose(found[labels == label], expected, atol=1e-5)


@pytest.mark.parametrize("faces_only", [False, True])
@pytest.mark.parametrize("shape", [(14, 12), (6, 8, 7)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1.0])
def test_components(shape, share, faces_only):
    mask = np.random.default_rng(2).random(shape) < share
    found, expected = (
        geometry.components(mask, faces_only=faces_only),
        brute_force.components(mask, faces_only=faces_only),
    )
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True))
    assert (
        len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    )  # the same, but for numbering
    sizes = geometry.component_sizes(found)
    assert sizes.tolist() == [(found == k).sum() for k in range(1, found.max() + 1)]


@pytest.mark.parametrize("shape", [(1, 5), (3, 5), (7, 7), (16, 17), (1, 1, 5), (5, 1, 3)])
@pytest.mark.parametrize("faces_only", [False, True])
def test_components_of_many_masks(shape, faces_only):
    structure = generate_binary_structure(len(shape), 1 if faces_only else len(shape))
    for seed in range(60):
        mask = random_mask(shape, (0.2, 0.5, 0.8)[seed % 3], seed)
        expected, count = number_components(mask, structure)
        ids = geometry.components(mask, faces_only=faces_only)
        assert len(set(zip(ids.flat, expected.flat, strict=True))) == count + (not mask.all()), mask
        assert (ids.max(), (ids > 0).sum()) == (count, mask.sum())


@over_spaces
@pytest.mark.parametrize("seed", range(4))
def test_voronoi_cells_belong_to_a_nearest_component(shape, spacing, seed):
    ids = geometry.components(random_mask(shape, 0.06, seed))
    cells = geometry.voronoi_cells(ids, spacing)
    distances = brute_force.distance_to_each(ids, spacing)
    chosen = np.take_along_axis(distances, cells[None] - 1, 0)[0]
    np.testing.assert_allclose(chosen, distances.min(0), rtol=1e-12)  # ties may go to either
    assert (cells[ids > 0] == ids[ids > 0]).all()


def test_one_component_owns_the_patch_and_none_owns_nothing():
    ids = np.zeros((4, 5), np.int32)
    assert (geometry.voronoi_cells(ids) == 0).all()
    ids[1, 1] = 1
    assert (geometry.voronoi_cells(ids) == 1).all()


@pytest.mark.parametrize("shape", [(24, 30), (14, 16, 12)])
@pytest.mark.parametrize("seed", range(3))
def test_skeleton_tube(shape, seed):
    mask = blobs(shape, seed=seed)
    expected = brute_force.dilate(skeletonize(mask) > 0, times=2)
    assert np.array_equal(geometry.skeleton_tube(mask), expected)


def test_skeleton_of_many_components_is_the_same(monkeypatch):
    mask = blobs((60, 50), sigma=1.0)
    apart = geometry.skeleton_tube(mask)
    monkeypatch.setattr(morphology, "MANY_COMPONENTS", 1)
    assert np.array_equal(geometry.skeleton_tube(mask), apart)


@pytest.mark.parametrize("shape", [(24, 30), (10, 12, 9), (1, 9, 9), (1, 1)])
@pytest.mark.parametrize("level", [-9.0, 0.0, 0.05, 9.0])
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_soft_skeleton_of_a_mask_is_that_of_its_probabilities(shape, level, iterations):
    mask = blobs(shape, level=level)
    expected = soft_skeleton(torch.from_numpy(mask).float()[None, None], iterations)[0, 0].numpy()
    assert np.array_equal(geometry.soft_skeleton(mask, iterations), expected)


@over_spaces
@over_shares
def test_boundary_count(shape, spacing, share):
    masks = np.stack([random_mask(shape, share), np.ones(shape, bool), np.zeros(shape, bool)])
    expected = [brute_force.boundary_count(mask) for mask in masks]
    assert boundary_sizes(torch.from_numpy(masks[None]).float())[0].tolist() == expected


@over_spaces
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 1.0])
def test_prediction_distance_of_noise_and_of_shapes(shape, spacing, share):
    masks = torch.rand(2, 2, *shape, generator=torch.Generator().manual_seed(0)) < share
    masks[1, 0] = torch.from_numpy(blobs(shape))
    expected = np.stack([geometry.distance_map(mask, spacing) for mask in masks.flatten(0, 1).numpy()])
    np.testing.assert_allclose(mask_distance(masks, spacing).flatten(0, 1), expected, rtol=1e-6)


def test_near_distance_knows_what_is_out_of_reach():
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[0, 0] = True
    assert near_distance(mask, (1.0, 1.0), REACH) is None
    noise = torch.rand(12, 12, generator=torch.Generator().manual_seed(1)) < 0.5
    assert torch.equal(
        near_distance(noise, (1.0, 1.0), REACH), torch.from_numpy(geometry.distance_map(noise.numpy()))
    )
