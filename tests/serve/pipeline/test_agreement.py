"""How far passes agree: against all pairs of passes, one after the other."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import special

from nnunet_losses.serve.backends import CallableNetwork
from nnunet_losses.serve.pipeline.agreement import (
    ENTROPY,
    FOLDS,
    MIRRORS,
    Agreement,
    Marking,
    marked_entropy,
)
from nnunet_losses.serve.pipeline.stitch import Stitcher, Tiles
from nnunet_losses.serve.pipeline.tiles import gaussian_weights, mirrorings
from nnunet_losses.serve.schema import Head, Tiling

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADS = 3


class Uneven:
    """A network that says something else of every mirroring, and marks some voxels alone."""

    def __init__(self, patch: tuple[int, ...], seed: int) -> None:
        random = np.random.default_rng(seed)
        self._own = random.normal(size=(HEADS, *patch)).astype(np.float32)

    def __call__(self, tile: NDArray[np.float32]) -> NDArray[np.float32]:
        strengths = np.arange(HEADS, dtype=np.float32).reshape(1, HEADS, *[1] * (tile.ndim - 2))
        return np.asarray(self._own + tile[:, :1] * (strengths - 0.7), np.float32)


def marked(logits: NDArray[Any], marking: Marking) -> list[NDArray[np.bool_]]:
    """Masks of each label, by definition."""
    if marking.head is Head.SIGMOID:
        return [special.expit(logits[channel].astype(np.float64)) > 0.5 for channel in marking.channels]
    return [np.argmax(logits, axis=0) == channel for channel in marking.channels]


def pairwise(views: list[tuple[list[NDArray[Any]], NDArray[Any] | None]], marking: Marking) -> float:
    """1 - Dice over all pairs of passes and all tiles, mean over labels; the tiles with their weights."""
    both, each = np.zeros(len(marking.channels)), np.zeros(len(marking.channels))
    for passes, weights in views:
        for one, other in combinations([marked(logits, marking) for logits in passes], 2):
            for label, (a, b) in enumerate(zip(one, other, strict=True)):
                own = np.ones(a.shape) if weights is None else weights.astype(np.float64)
                both[label] += 2 * own[a & b].sum()
                each[label] += own[a].sum() + own[b].sum()
    return float(np.mean([1 - b / e if e else 0.0 for b, e in zip(both, each, strict=True)]))


def stitched(
    tiling: Tiling, shape: tuple[int, ...], folds: int, marking: Marking | None
) -> tuple[Stitcher, NDArray[Any], Tiles, list[Uneven]]:
    data = np.random.default_rng(9).normal(size=(1, *shape)).astype(np.float32)
    networks = [Uneven(tuple(tiling.patch_size), seed) for seed in range(folds)]
    stitcher, tiles = Stitcher(tiling, HEADS, threads=1, marking=marking), Tiles.cut(data, tiling)
    opened = [lambda network=network: CallableNetwork(network) for network in networks]
    return stitcher, stitcher.logits(tiles, opened), tiles, networks


@pytest.mark.parametrize("head", [Head.SOFTMAX, Head.SIGMOID])
@pytest.mark.parametrize(
    ("patch", "shape", "settings"),
    [
        ((6, 7, 8), (9, 12, 8), {"mirror_axes": (0, 1, 2)}),
        ((6, 7, 8), (9, 5, 8), {"mirror_axes": (1,), "gaussian": False}),
        ((9, 8), (2, 13, 8), {"mirror_axes": (0, 1)}),
    ],
)
def test_mirrored_passes_are_compared_pair_by_pair(
    head: Head, patch: tuple[int, ...], shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    tiling = Tiling(patch_size=patch, **settings)
    marking = Marking(head, (1, 2) if head is Head.SOFTMAX else (0, 1, 2))
    stitcher, _, tiles, (network,) = stitched(tiling, shape, 1, marking)
    weights = gaussian_weights(patch) if tiling.gaussian else None
    views = []
    for index in range(len(tiles)):
        flips = mirrorings(tiling.mirror_axes)
        passes = [np.flip(network(np.flip(tiles[index], axes)), axes)[0] for axes in flips]
        views.append((passes, weights))
    assert stitcher.doubts[0][MIRRORS] == pytest.approx(pairwise(views, marking), abs=1e-9)
    assert 0.05 < stitcher.doubts[0][MIRRORS] < 1
    assert FOLDS not in stitcher.doubts[0]


@pytest.mark.parametrize("head", [Head.SOFTMAX, Head.SIGMOID])
def test_folds_are_compared_by_what_each_says_alone(head: Head) -> None:
    tiling = Tiling(patch_size=(6, 7, 8), mirror_axes=(2,))
    marking = Marking(head, (1, 2))
    stitcher, _, tiles, networks = stitched(tiling, (9, 5, 8), 3, marking)
    alone = [
        Stitcher(tiling, HEADS, threads=1).logits(tiles, [lambda network=network: CallableNetwork(network)])
        for network in networks
    ]
    assert len(stitcher.doubts) == 3
    expected = pairwise([(alone, None)], marking)
    for doubts, logits in zip(stitcher.doubts, alone, strict=True):
        assert doubts[FOLDS] == pytest.approx(expected, abs=1e-9)
        assert doubts[ENTROPY] == pytest.approx(plain_entropy(logits, marking), abs=1e-5)
    assert len({doubts[MIRRORS] for doubts in stitcher.doubts}) == 3  # each fold's own


def plain_entropy(logits: NDArray[Any], marking: Marking) -> float:
    inside = np.any(marked(logits, marking), axis=0)
    values = logits.astype(np.float64)[:, inside]
    if marking.head is Head.SOFTMAX:
        p = special.softmax(values, axis=0)
        return float(special.entr(p).sum(axis=0).mean() / np.log(len(p)))
    p = special.expit(values)
    return float(((special.entr(p) + special.entr(1 - p)) / np.log(2)).mean())


def test_nothing_changes_where_nothing_is_compared() -> None:
    tiling = Tiling(patch_size=(6, 7, 8), mirror_axes=(0, 2))
    plain, logits, _, _ = stitched(tiling, (9, 12, 8), 2, None)
    watched, same, _, _ = stitched(tiling, (9, 12, 8), 2, Marking(Head.SOFTMAX, (1, 2)))
    assert np.array_equal(logits, same)
    assert plain.doubts == []
    assert len(watched.doubts) == 2


def test_a_single_pass_agrees_with_nobody() -> None:
    stitcher, _, _, _ = stitched(Tiling(patch_size=(6, 7, 8)), (9, 12, 8), 1, Marking(Head.SOFTMAX, (1, 2)))
    assert stitcher.doubts[0].keys() == {ENTROPY}


def test_passes_that_mark_nothing_agree() -> None:
    nothing = np.stack([np.ones((4, 4)), np.zeros((4, 4))])
    agreement = Agreement(Marking(Head.SOFTMAX, (1,)))
    agreement.add([nothing, nothing])
    assert agreement.disagreement == 0
    assert marked_entropy(nothing[:, None], Marking(Head.SOFTMAX, (1,))) is None


def test_passes_that_mark_other_places_disagree_altogether() -> None:
    one = np.array([[[1.0, -1.0]]])
    agreement = Agreement(Marking(Head.SIGMOID, (0,)))
    agreement.add([one, -one])
    assert agreement.disagreement == 1


def test_large_volumes_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 7, 5, 6))
    marking = Marking(Head.SOFTMAX, (1, 2))
    whole = marked_entropy(logits, marking)
    monkeypatch.setattr("nnunet_losses.serve.pipeline.agreement._VOXELS", 60)
    assert marked_entropy(logits, marking) == pytest.approx(whole, rel=1e-6)
