"""The GPU's pipeline with NumPy in CuPy's place: the CPU's masks, and what happens when memory is short."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.backends.device import Arrays, device_arrays
from nnunet_losses.serve.backends.network import OutOfDeviceMemory
from nnunet_losses.serve.backends.onnxruntime_network import CPU, OnnxRuntimeNetwork, address
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.pipeline import gpu_labels, labels, stage
from nnunet_losses.serve.pipeline.gpu_stitch import GpuStitcher, Memory
from nnunet_losses.serve.pipeline.resample import plan_resize
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.pipeline.stitch import Stitcher, Tiles
from nnunet_losses.serve.schema import Head, Label, Resampling, Tiling

from ..models import description
from .reference import make_image
from .test_segment import draw

if TYPE_CHECKING:
    from nnunet_losses.serve.bundle import Bundle

PATCH = (4, 6, 8)
HEADS = 3


class CountingArrays(Arrays):
    """NumPy whose freed memory is counted."""

    released = 0

    def release(self) -> None:
        type(self).released += 1


class SmallNetwork:
    """Logits that depend on every voxel's place, on a device with room for a few tiles."""

    provider, precision = "stand-in", "float32"

    def __init__(self, room: int = 99, error: Exception | None = None, offset: float = 0.0) -> None:
        self.room = room
        self.error = error or OutOfDeviceMemory("too many tiles")
        self.offset = offset
        self.batches: list[int] = []
        self.ramp = np.random.default_rng(0).normal(size=(HEADS, *PATCH)).astype(np.float32)

    def shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        return {"logits": (batch, HEADS, *PATCH), "features_0": (batch, 1)}

    def run_on_device(self, tiles: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
        assert address(tiles), "an engine reads contiguous memory"
        self.batches.append(len(tiles))
        if len(tiles) > self.room:
            raise self.error
        outputs["logits"][...] = tiles * self.ramp + self.offset
        if "features_0" in outputs:
            outputs["features_0"][...] = tiles.mean(axis=(2, 3, 4))

    def run(self, tiles: np.ndarray) -> Any:
        from nnunet_losses.serve.backends import TileOutput

        outputs = {name: np.empty(shape, np.float32) for name, shape in self.shapes(len(tiles)).items()}
        self.run_on_device(tiles, outputs)
        return TileOutput(outputs.pop("logits"), outputs)


@pytest.fixture
def tiling() -> Tiling:
    return Tiling(patch_size=PATCH, mirror_axes=(0, 1, 2))


@pytest.fixture
def tiles(tiling: Tiling) -> Tiles:
    data = np.random.default_rng(1).normal(size=(1, 3, 11, 13)).astype(np.float32)
    return Tiles.cut(data, tiling)


def stitched(tiling: Tiling, tiles: Tiles, memory: Memory, *networks: SmallNetwork) -> Any:
    stitcher = GpuStitcher(tiling, HEADS, CountingArrays(np), memory)
    return stitcher, stitcher.logits(tiles, [lambda network=network: network for network in networks])


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("gaussian", [True, False])
def test_sums_are_the_cpus_to_the_last_bit(tiles: Tiles, tiling: Tiling, batch: int, gaussian: bool) -> None:
    tiling = tiling.model_copy(update={"gaussian": gaussian})
    networks = [SmallNetwork(), SmallNetwork(offset=0.5)]
    plain = Stitcher(tiling, HEADS)
    expected = plain.logits(tiles, [lambda network=network: network for network in networks])
    seen: list[tuple[int, int]] = []
    stitcher = GpuStitcher(
        tiling, HEADS, Arrays(np), Memory(batch), progress=lambda done, all_: seen.append((done, all_))
    )
    logits = stitcher.logits(tiles, [lambda network=network: network for network in networks])
    assert logits.dtype == np.float16
    np.testing.assert_array_equal(logits, expected)
    assert stitcher.forward_passes == plain.forward_passes == 2 * 8 * len(tiles)
    for fold, expected_fold in zip(stitcher.features, plain.features, strict=True):
        np.testing.assert_allclose(fold["features_0"], expected_fold["features_0"], atol=1e-6)
    assert seen[-1] == (2 * len(tiles), 2 * len(tiles))
    assert Memory(batch).warnings == ()


@pytest.mark.parametrize(
    "error",
    [OutOfDeviceMemory("full"), RuntimeError("Failed to allocate memory for requested buffer of size 4")],
)
def test_short_memory_gets_smaller_batches(tiles: Tiles, tiling: Tiling, error: Exception) -> None:
    _, expected = stitched(tiling, tiles, Memory(8), SmallNetwork())
    memory, network = Memory(8), SmallNetwork(room=2, error=error)
    CountingArrays.released = 0
    _, logits = stitched(tiling, tiles, memory, network)
    np.testing.assert_array_equal(logits, expected)
    assert network.batches[:4] == [8, 4, 2, 2]
    assert network.batches.count(8) == 1, "what was learnt is kept from tile to tile"
    assert CountingArrays.released == 2
    ((code, text),) = memory.warnings
    assert code == "gpu.smaller_batches"
    assert "2 instead of 8" in text


class TightNetwork(SmallNetwork):
    """A device whose last room is taken by the sums, until they leave it."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def run_on_device(self, tiles: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
        if not self.memory.on_host:
            raise OutOfDeviceMemory("the sums take it all")
        super().run_on_device(tiles, outputs)


def test_then_the_sums_move_to_the_host(tiles: Tiles, tiling: Tiling) -> None:
    _, expected = stitched(tiling, tiles, Memory(8), SmallNetwork())
    memory = Memory(4)
    _, logits = stitched(tiling, tiles, memory, TightNetwork(memory))
    np.testing.assert_array_equal(logits, expected)
    assert [code for code, _ in memory.warnings] == ["gpu.smaller_batches", "gpu.sums_on_host"]


def test_then_it_is_an_error(tiles: Tiles, tiling: Tiling) -> None:
    with pytest.raises(Refusal, match="not enough for a single tile") as refusal:
        stitched(tiling, tiles, Memory(4), SmallNetwork(room=0))
    assert refusal.value.code is Code.BACKEND_FAILED


def test_other_errors_are_not_taken_for_short_memory(tiles: Tiles, tiling: Tiling) -> None:
    network = SmallNetwork(room=0, error=RuntimeError("illegal instruction"))
    with pytest.raises(RuntimeError, match="illegal"):
        stitched(tiling, tiles, Memory(4), network)
    assert network.batches == [4]


@pytest.mark.parametrize("offset", [np.nan, np.inf, -np.inf, 1e30])
def test_logits_that_are_no_numbers(tiles: Tiles, tiling: Tiling, offset: float) -> None:
    with np.errstate(all="ignore"), pytest.raises(Refusal, match="infinite values"):
        stitched(tiling, tiles, Memory(1), SmallNetwork(offset=offset))


REGIONS = (
    Label(name="whole", channel=0, value=1, members=(1, 2)),
    Label(name="core", channel=1, value=2, members=(2,)),
)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 1.0, 1.0), (1.0, 1.0, 5.0)])
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("head", [Head.SOFTMAX, Head.SIGMOID])
def test_labels_are_the_cpus(
    spacing: tuple[float, ...], order: Any, head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_labels, "_VOXELS", 400)  # several slabs
    generator = np.random.default_rng(2)
    logits = generator.normal(scale=8, size=(3, 7, 9, 8)).astype(np.float16)
    model = description() if head is Head.SOFTMAX else description(head=head, heads=2, labels=REGIONS)
    logits = logits[: model.heads]
    resize = plan_resize((7, 9, 8), (9, 15, 5), (spacing, spacing), Resampling(order=order))
    expected = labels.label_mask(logits, resize, model)
    mask = gpu_labels.label_mask(logits, resize, model, Arrays(np))
    assert mask.dtype == expected.dtype
    assert len(np.unique(mask)) == 3
    assert (mask != expected).mean() <= 0.002  # float32 may round a near tie to another float16


@pytest.mark.parametrize("name", ["volume_bundle", "region_bundle"])
def test_a_whole_bundle(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound to ONNX Runtime's own memory on the CPU: the same mask, and nothing said."""
    bundle: Bundle = request.getfixturevalue(name)
    channels = len(bundle.description.channel_names)
    image = make_image(draw((channels, 20, 30, 22)), (1.2, 1.0, 0.8))
    plain = Segmenter(bundle, backend="cpu", threads=1).segment(image)
    monkeypatch.setattr(stage, "device_arrays", lambda _: Arrays(np))
    bound = Segmenter(bundle, backend="cpu", threads=1).segment(image)
    assert len(np.unique(plain.mask)) > 1
    # a batch of mirrored tiles is summed in another order than single ones
    assert (bound.mask != plain.mask).mean() < 1e-3
    assert bound.forward_passes == plain.forward_passes
    for feature, values in plain.features.items():
        np.testing.assert_allclose(bound.features[feature], values, atol=1e-4)
    assert bound.warnings == ()


class DeviceArray:
    """Logits that are not in the host's memory."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


class FullDevice(Arrays):
    """A device without room for labels."""

    def host(self, array: Any) -> np.ndarray:
        return array.values if isinstance(array, DeviceArray) else array


def test_labels_move_to_the_host_and_say_so(volume_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = Segmenter(volume_bundle, backend="cpu", threads=1)
    image = make_image(draw((1, 8, 16, 8)), (1.2, 1.0, 0.8))
    expected, found = segmenter.segment(image), segmenter.vote(image)
    for name, vote in found.votes.items():
        found.votes[name] = replace(vote, logits=DeviceArray(vote.logits))

    def full(*_: Any) -> None:
        raise OutOfDeviceMemory("no room for labels")

    monkeypatch.setattr(stage, "device_arrays", lambda _: FullDevice(np))
    monkeypatch.setattr(stage, "gpu_label_mask", full)
    made = segmenter.conclude(found)
    np.testing.assert_array_equal(made.mask, expected.mask)
    assert [code for code, _ in made.warnings] == ["gpu.labels_on_host"]


def test_binding_writes_where_it_is_told(volume_bundle: Bundle) -> None:
    file = volume_bundle.file(volume_bundle.description.members[0].folds[0].file)
    network = OnnxRuntimeNetwork(file, provider=CPU, threads=1)
    tiles = np.random.default_rng(0).normal(size=(2, 1, 16, 24, 16)).astype(np.float32)
    outputs = {name: np.full(shape, np.nan, np.float32) for name, shape in network.shapes(2).items()}
    network.run_on_device(tiles, outputs)
    expected = network.run(tiles)
    np.testing.assert_allclose(outputs.pop("logits"), expected.logits, atol=1e-4)
    assert outputs.keys() == expected.features.keys()
    with pytest.raises(ValueError, match="not contiguous"):
        network.run_on_device(tiles[..., ::-1], {})
    assert device_arrays(network) is None, "it runs on the CPU"


def test_answers_say_when_a_gpu_gets_copies(volume_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxRuntimeNetwork, "on_gpu", True)
    image = make_image(draw((1, 8, 16, 8)), (1.0, 1.0, 1.0))
    found = Segmenter(volume_bundle, backend="cpu", threads=1).segment(image)
    assert [code for code, _ in found.warnings] == ["gpu.copies"]


def test_batches_follow_the_patch() -> None:
    assert Memory.of(Tiling(patch_size=(128, 128, 128), mirror_axes=(0, 1, 2))).batch == 2
    assert Memory.of(Tiling(patch_size=(256, 256, 256), mirror_axes=(0,))).batch == 1
    assert Memory.of(Tiling(patch_size=(40, 56, 40), mirror_axes=(0, 1, 2))).batch == 8
    assert Memory.of(Tiling(patch_size=(40, 56, 40))).batch == 1
