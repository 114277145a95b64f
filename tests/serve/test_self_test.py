"""The golden self-test passes on a sound bundle, and tells what differs on any other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.backends import TileOutput
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.self_test import run_self_test

from .models import description

if TYPE_CHECKING:
    from nnunet_losses.serve.bundle import Bundle


@pytest.mark.parametrize("name", ["volume_bundle", "region_bundle", "rgb_bundle"])
def test_a_sound_bundle_passes(name: str, request: pytest.FixtureRequest) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    report = run_self_test(Predictor(bundle, backend="cpu", threads=1))
    assert report.tile_difference < bundle.description.golden.logits_tolerance / 10
    assert (report.differing_beyond_margin, report.provider) == (0, "CPUExecutionProvider")
    assert report.voxels > 1000


class Altered:
    """A network whose logits are not quite what they should be."""

    provider, precision = "altered", "float32"

    def __init__(self, network: Any, alter: Any) -> None:
        self._network, self._alter = network, alter

    def run(self, tiles: np.ndarray) -> TileOutput:
        return TileOutput(self._alter(self._network.run(tiles).logits))


def failure_of(bundle: Bundle, alter: Any) -> Refusal:
    sound = Segmenter(bundle, backend="cpu", threads=1)
    networks = [Altered(sound.network(fold), alter) for fold in range(len(sound.member.folds))]
    with pytest.raises(Refusal) as caught:
        run_self_test(Predictor(bundle, engine=Segmenter(bundle, networks=networks)))
    assert caught.value.code is Code.BUNDLE_SELF_TEST_FAILED
    return caught.value


def test_logits_that_are_a_little_off(volume_bundle: Bundle) -> None:
    refusal = failure_of(volume_bundle, lambda logits: logits + 3e-3 * np.ptp(logits))
    assert refusal.observed["tile_difference"] == pytest.approx(3e-3, rel=0.05)
    assert refusal.observed["differing_beyond_margin"] == 0


@pytest.mark.parametrize(("precision", "share", "passes"), [
    ("bfloat16", 3e-3, True), ("bfloat16", 3e-2, False), ("int8", 3e-2, True), ("float32", 3e-3, False),
])  # fmt: skip
def test_a_reduced_precision_may_be_further_off(
    volume_bundle: Bundle, precision: str, share: float, passes: bool
) -> None:
    network = Altered(
        Segmenter(volume_bundle, backend="cpu", threads=1).network(0),
        lambda logits: logits + share * np.ptp(logits),
    )
    network.precision = precision
    predictor = Predictor(volume_bundle, engine=Segmenter(volume_bundle, networks=[network]))
    if passes:
        assert run_self_test(predictor).tile_difference == pytest.approx(share, rel=0.05)
    else:
        with pytest.raises(Refusal, match="self-test failed"):
            run_self_test(predictor)


def test_channels_in_another_order(volume_bundle: Bundle) -> None:
    refusal = failure_of(volume_bundle, lambda logits: np.ascontiguousarray(logits[:, ::-1]))
    assert refusal.observed["differing_beyond_margin"] > 0
    assert str(refusal.observed["differing_beyond_margin"]) in refusal.detail


def test_nan_is_no_agreement(volume_bundle: Bundle) -> None:
    sound = Segmenter(volume_bundle, backend="cpu", threads=1)
    network = Altered(sound.network(0), lambda logits: np.full_like(logits, np.nan))
    with pytest.raises(Refusal):
        run_self_test(Predictor(volume_bundle, engine=Segmenter(volume_bundle, networks=[network])))


def test_logits_of_another_shape(volume_bundle: Bundle) -> None:
    assert "shape" in failure_of(volume_bundle, lambda logits: logits[:, :2]).detail


def test_another_mask(volume_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunet_losses.serve import self_test

    monkeypatch.setattr(self_test, "read_mask", lambda *_, **__: np.zeros((3, 3, 3), np.int64))
    assert "shape" in failure_of(volume_bundle, lambda logits: logits).detail


def test_a_stand_in_cannot_be_tested() -> None:
    bundle: Any = SimpleNamespace(description=description(), sha256="", calibration=None)
    engine: Any = SimpleNamespace(provider="", precision="")
    with pytest.raises(TypeError, match="Segmenter"):
        run_self_test(Predictor(bundle, engine=engine))
