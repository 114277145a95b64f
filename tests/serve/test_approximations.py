"""Approximate speed-ups: only on demand, within their ranges, and named in the answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.approximations import REMEMBERED_TILES, Approximations, ConstantTiles
from nnunet_losses.serve.backends import CallableNetwork
from nnunet_losses.serve.formats import Case, read_mask
from nnunet_losses.serve.predictor import Predictor

from .formats.files import noise, write

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.answer import Answer
    from nnunet_losses.serve.bundle import Bundle

SHAPE = (40, 24, 22)


def image(folder: Path, *, background: bool = False) -> Case:
    voxels = noise(SHAPE)
    if background:
        voxels[8:] = 0
        voxels[-1, -1, -1] = 1  # so that cropping leaves the emptiness in
    return Case("a", (write(folder / "a_0000.nii.gz", voxels, spacing=(1.0, 1.0, 1.0)),))


def answer(bundle: Bundle, case: Case, **approximations: Any) -> Answer:
    chosen = Approximations(**approximations)
    return Predictor(bundle, backend="cpu", threads=1, approximations=chosen).predict(case).answer


def codes(given: Answer) -> list[str]:
    return [warning.code for warning in given.warnings if warning.code.startswith("approximate")]


def test_nothing_is_approximated_by_default(volume_bundle: Bundle, tmp_path: Path) -> None:
    assert codes(answer(volume_bundle, image(tmp_path))) == []
    assert Approximations().applied_to(volume_bundle) is volume_bundle
    assert codes(answer(volume_bundle, image(tmp_path), step=0.5)) == []


def test_step(volume_bundle: Bundle, tmp_path: Path) -> None:
    exact, coarse = (answer(volume_bundle, image(tmp_path), step=step) for step in (None, 1.0))
    assert codes(coarse) == ["approximate.step"]
    (warning,) = (warning for warning in coarse.warnings if warning.code == "approximate.step")
    assert (warning.observed, warning.expected) == (1.0, 0.5)
    assert coarse.manifest.tiles < exact.manifest.tiles


def test_no_mirror(volume_bundle: Bundle, tmp_path: Path) -> None:
    exact, plain = (answer(volume_bundle, image(tmp_path), mirror=mirror) for mirror in (True, False))
    assert codes(plain) == ["approximate.no_mirror"]
    assert exact.manifest.forward_passes == 8 * exact.manifest.tiles
    assert plain.manifest.forward_passes == plain.manifest.tiles == exact.manifest.tiles
    assert plain.manifest.bundle_sha256 == exact.manifest.bundle_sha256


def test_skip_background_changes_nothing_but_the_time(volume_bundle: Bundle, tmp_path: Path) -> None:
    case = image(tmp_path, background=True)
    results = []
    for skip in (False, True):
        chosen = Approximations(skip_background=skip)
        predictor = Predictor(volume_bundle, backend="cpu", threads=1, approximations=chosen)
        results.append(predictor.predict_to_folder(case, tmp_path / str(skip)))
    exact, skipped = results
    assert codes(exact.answer) == []
    assert codes(skipped.answer) == ["approximate.skip_background"]
    (warning,) = (one for one in skipped.answer.warnings if one.code == "approximate.skip_background")
    assert 8 <= warning.observed < exact.answer.manifest.forward_passes
    masks = [read_mask(one.mask_file) for one in (exact, skipped) if one.mask_file is not None]
    np.testing.assert_array_equal(*masks)


def test_skip_background_says_nothing_where_there_was_none(volume_bundle: Bundle, tmp_path: Path) -> None:
    assert codes(answer(volume_bundle, image(tmp_path), skip_background=True)) == []


def test_each_case_is_told_its_own_tiles(volume_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    predictor = Predictor(
        volume_bundle, backend="cpu", threads=1, approximations=Approximations(skip_background=True)
    )
    empty, full = image(tmp_path / "empty", background=True), image(tmp_path)
    told = [codes(predictor.predict(case).answer) for case in (empty, full, empty)]
    assert [len(one) for one in told] == [1, 0, 1]


def test_constant_tiles_are_told_from_others() -> None:
    calls: list[Any] = []

    def network(tiles: np.ndarray) -> np.ndarray:
        calls.append(tiles)
        return tiles.sum(1, keepdims=True)

    once = ConstantTiles(CallableNetwork(network))
    flat = np.zeros((1, 2, 4, 5, 6), np.float32)
    flat[:, 1] = 3
    corner = flat.copy()
    corner[0, 1, -1, -1, -1] = 3.5
    for tile, count in ((flat, 1), (flat, 1), (corner, 2), (corner, 3), (flat + 1, 4), (flat, 4)):
        np.testing.assert_array_equal(once.run(tile).logits, tile.sum(1, keepdims=True))
        assert len(calls) == count
    once.run(flat).logits[:] = 99  # the caller may change what it gets
    assert once.run(flat).logits.max() == 3
    for value in range(3 * REMEMBERED_TILES):
        once.run(flat + value)
    assert len(once._known) == REMEMBERED_TILES


def test_pictures_have_flat_tiles_too() -> None:
    once = ConstantTiles(CallableNetwork(lambda tiles: tiles))
    line = np.zeros((1, 1, 7, 7), np.float32)
    once.run(line)
    line[0, 0, 0, 6] = 1
    assert once.run(line).logits.max() == 1
    assert once.reused == 0


@pytest.mark.parametrize("step", [0, 0.05, 1.01, -1, float("nan")])
def test_steps_that_cannot_be(step: float) -> None:
    with pytest.raises(ValueError, match=r"expected 0\.1 to 1\.0"):
        Approximations(step=step)


def test_on_the_command_line(volume_bundle: Bundle, tmp_path: Path) -> None:
    file = image(tmp_path).files[0]
    start = ["predict", str(volume_bundle.root), str(file), "-o", str(tmp_path / "out"), "--backend", "cpu"]
    result = CliRunner().invoke(app, [*start, "--step", "0.8", "--no-mirror", "--skip-background"])
    assert result.exit_code == 0, result.output
    warnings = json.loads((tmp_path / "out" / "a.json").read_text())["warnings"]
    assert {"approximate.step", "approximate.no_mirror"} <= {warning["code"] for warning in warnings}
    for wrong in ("0", "1.5", "half"):
        assert CliRunner().invoke(app, [*start, "--step", wrong]).exit_code == 2
