"""Tiles, weights and the blending of logits against nnU-Net's predictor, given the same network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_losses.serve.backends import CallableNetwork, TileOutput
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.pipeline.stitch import Stitcher, Tiles
from nnunet_losses.serve.pipeline.tiles import gaussian_weights, pad_to_patch, tile_slices, window_starts
from nnunet_losses.serve.schema import Tiling
from tests.models import ModelFolderSpec, dataset_json, plans

if TYPE_CHECKING:
    from collections.abc import Callable

HEADS = 3


class Affine(torch.nn.Module):
    """Logits that depend on the place in the tile, so that mirroring is not a no-op; exact in any library."""

    def __init__(self, patch: tuple[int, ...], seed: int) -> None:
        super().__init__()
        field = np.random.default_rng(seed).normal(0, 20, (HEADS, *patch)).astype(np.float32)
        self.register_buffer("field", torch.from_numpy(field))

    def forward(self, tile: torch.Tensor) -> torch.Tensor:
        return tile[:, :1] * self.field + self.field


def as_function(module: Affine) -> Callable[[np.ndarray], np.ndarray]:
    field = module.field.numpy()
    return lambda tile: tile[:, :1] * field + field


def make_predictor(
    patch: tuple[int, ...], modules: list[Affine], settings: dict[str, Any]
) -> nnUNetPredictor:
    """nnU-Net's predictor with our networks as its folds."""
    spec = ModelFolderSpec(patch_size=patch, spacing=(1.0,) * len(patch))
    manager = PlansManager(plans(spec))
    predictor = nnUNetPredictor(
        tile_step_size=settings.get("step_size", 0.5),
        use_gaussian=settings.get("gaussian", True),
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        modules[0],
        manager,
        manager.get_configuration(spec.configuration),
        [{name: value.clone() for name, value in module.state_dict().items()} for module in modules],
        dataset_json(spec),
        "nnUNetTrainer",
        settings.get("mirror_axes") or None,
    )
    return predictor


@pytest.mark.parametrize(
    ("patch", "shape", "folds", "settings"),
    [
        ((8, 10, 12), (19, 23, 30), 1, {"mirror_axes": (0, 1, 2)}),
        ((8, 10, 12), (19, 23, 30), 5, {"mirror_axes": (1, 2)}),
        ((9, 7, 5), (20, 6, 11), 3, {"mirror_axes": (0,)}),
        ((9, 7, 5), (3, 20, 4), 2, {"mirror_axes": ()}),
        ((8, 8, 8), (17, 18, 19), 1, {"gaussian": False, "mirror_axes": (0, 2)}),
        ((8, 8, 8), (30, 18, 9), 2, {"step_size": 0.3, "mirror_axes": (2,)}),
        ((9, 14), (4, 31, 20), 3, {"mirror_axes": (0, 1)}),
        ((9, 14), (1, 8, 40), 1, {"mirror_axes": (1,), "step_size": 1.0}),
    ],
)
def test_logits_equal_nnunet_to_the_last_bit(
    patch: tuple[int, ...], shape: tuple[int, ...], folds: int, settings: dict[str, Any]
) -> None:
    data = np.random.default_rng(5).standard_normal((2, *shape)).astype(np.float32)
    modules = [Affine(patch, seed) for seed in range(folds)]
    networks = [CallableNetwork(as_function(Affine(patch, seed))) for seed in range(folds)]
    expected = make_predictor(patch, modules, settings).predict_logits_from_preprocessed_data(
        torch.from_numpy(data)
    )
    tiling = Tiling(patch_size=patch, **settings)
    stitcher = Stitcher(tiling, HEADS)
    tiles = Tiles.cut(data, tiling)
    logits = stitcher.logits(tiles, [lambda network=network: network for network in networks])
    assert logits.dtype == np.float16
    np.testing.assert_array_equal(logits, expected.numpy())
    assert stitcher.forward_passes == len(tiles) * 2 ** len(settings["mirror_axes"]) * folds


def test_float32_sums_are_closer_to_the_truth() -> None:
    tiling = Tiling(patch_size=(8, 8, 8), mirror_axes=(0,))
    data = np.random.default_rng(5).standard_normal((1, 20, 20, 20)).astype(np.float32)

    def network(tile: np.ndarray) -> np.ndarray:
        return np.concatenate([tile, 30 * tile], axis=1)

    def error(accumulation: Any) -> float:
        stitcher = Stitcher(tiling, 2, accumulation)
        logits = stitcher.logits(Tiles.cut(data, tiling), [lambda: CallableNetwork(network)])
        assert logits.dtype == accumulation
        return float(np.abs(logits.astype(np.float64) - np.concatenate([data, 30 * data])).max())

    assert error("float32") < 1e-4 < error("float16")


def nnunet_slicers(shape: tuple[int, ...], patch: tuple[int, ...], step: float) -> list[Any]:
    predictor = make_predictor(patch, [Affine(patch, 0)], {"step_size": step})
    return predictor._internal_get_sliding_window_slicers(shape)


def test_tiles_stand_where_nnunet_places_them() -> None:
    rng = np.random.default_rng(6)
    for _ in range(60):
        patch = tuple(rng.integers(1, 40, rng.integers(2, 4)).tolist())
        shape = tuple(rng.integers(1, 6, 3 - len(patch)).tolist()) + tuple(
            size + int(more) for size, more in zip(patch, rng.integers(0, 90, len(patch)), strict=True)
        )
        step = float(rng.choice([0.3, 0.5, 0.7, 1.0]))
        assert tile_slices(shape, patch, step) == nnunet_slicers(shape, patch, step)


def test_windows_touch_both_ends() -> None:
    assert window_starts((64,), (64,), 0.5) == [[0]]
    assert window_starts((65,), (64,), 0.5) == [[0, 1]]
    assert window_starts((200,), (64,), 0.5)[0][-1] == 200 - 64


@pytest.mark.parametrize("patch", [(8, 10, 12), (5, 3, 1), (64, 96), (33, 20, 128), (1, 1)])
def test_weights_equal_nnunet_to_the_last_bit(patch: tuple[int, ...]) -> None:
    expected = compute_gaussian(patch, 1 / 8, 10, device=torch.device("cpu"))
    weights = gaussian_weights(patch)
    assert weights.dtype == np.float16
    np.testing.assert_array_equal(weights, expected.numpy())
    assert weights.min() > 0
    with pytest.raises(ValueError, match="read-only"):
        weights[...] = 0


@pytest.mark.parametrize(
    ("shape", "patch"), [((2, 5, 6, 7), (8, 6, 12)), ((1, 9, 9, 9), (4, 4, 4)), ((1, 3, 5, 4), (8, 9))]
)
def test_padding_equals_nnunet(shape: tuple[int, ...], patch: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    padded, back = pad_to_patch(data, patch)
    expected, slices = pad_nd_image(data, patch, "constant", {"constant_values": 0}, True, None)
    np.testing.assert_array_equal(padded, expected)
    assert back[1:] == tuple(slices[1:])
    np.testing.assert_array_equal(padded[back], data)


class Features:
    """A network with pooled features: the mean of the tile, and a count of its calls."""

    provider, precision = "test", "float32"

    def __init__(self) -> None:
        self.calls = 0

    def run(self, tiles: np.ndarray) -> TileOutput:
        self.calls += 1
        mean = tiles.mean(axis=(2, 3, 4))
        return TileOutput(np.repeat(tiles, 2, axis=1), {"pooled": np.stack([mean[0]])})


def test_features_come_from_the_plain_passes_of_each_network() -> None:
    tiling = Tiling(patch_size=(4, 4, 4), mirror_axes=(0, 1))
    data = np.random.default_rng(1).standard_normal((1, 6, 4, 4)).astype(np.float32)
    networks = [Features(), Features()]
    tiles = Tiles.cut(data, tiling)
    stitcher = Stitcher(tiling, 2)
    stitcher.logits(tiles, [lambda network=network: network for network in networks])
    expected = [tiles[index].mean(axis=(2, 3, 4))[0] for index in range(len(tiles))]
    for fold in stitcher.features:
        np.testing.assert_allclose(fold["pooled"], expected)
    assert len(stitcher.features) == 2
    assert [network.calls for network in networks] == [len(tiles) * 4] * 2


def test_progress_counts_tiles_of_all_networks_and_may_stop() -> None:
    tiling = Tiling(patch_size=(4, 4, 4))
    tiles = Tiles.cut(np.zeros((1, 8, 4, 4), np.float32), tiling)
    seen: list[tuple[int, int]] = []
    Stitcher(tiling, 2, progress=lambda *step: seen.append(step)).logits(tiles, [Features, Features])
    assert seen == [(step, 6) for step in range(1, 7)]

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    networks = [Features()]
    with pytest.raises(KeyboardInterrupt):
        Stitcher(tiling, 2, progress=stop).logits(tiles, [lambda: networks[0]])
    assert networks[0].calls == 2


@pytest.mark.parametrize("value", [1e5, -1e5, np.inf, np.nan])
def test_overflow_and_nonsense_are_refused(value: float) -> None:
    tiling = Tiling(patch_size=(4, 4, 4))
    tiles = Tiles.cut(np.zeros((1, 4, 4, 4), np.float32), tiling)
    network = CallableNetwork(lambda tile: np.full((1, 2, *tile.shape[2:]), value))
    with pytest.raises(Refusal, match="float32") as refusal:
        Stitcher(tiling, 2).logits(tiles, [lambda: network])
    assert refusal.value.code is Code.BACKEND_FAILED


def test_a_wrong_number_of_heads_is_refused() -> None:
    tiling = Tiling(patch_size=(4, 4, 4))
    tiles = Tiles.cut(np.zeros((1, 4, 4, 4), np.float32), tiling)
    with pytest.raises(Refusal, match=r"\(1, 1, 4, 4, 4\).*\(1, 2, 4, 4, 4\)"):
        Stitcher(tiling, 2).logits(tiles, [lambda: CallableNetwork(lambda tile: tile)])
