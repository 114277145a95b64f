"""Engines: the answers of a small graph, and what is refused when an engine or its device is missing."""

from __future__ import annotations

import builtins
import sys
from contextlib import closing
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.backends import (
    CallableNetwork,
    TileNetwork,
    onnxruntime_network,
    open_network,
    opening,
    openvino_network,
    stream,
)
from nnunet_losses.serve.backends.processor import native_precisions
from nnunet_losses.serve.backends.threads import allowed_cores
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROVIDERS = {"cpu": "CPUExecutionProvider", "openvino": "OpenVINO CPU"}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("backend", PROVIDERS)
def test_logits_and_features(path: Path, backend: Any, batch: int) -> None:
    network = open_network(path, backend=backend, threads=1)
    assert isinstance(network, TileNetwork)
    assert network.provider == PROVIDERS[backend]
    assert network.precision == "float32"
    tiles = np.random.default_rng(0).standard_normal((batch, 1, 4, 6)).astype(np.float32)
    output = network.run(tiles)
    np.testing.assert_array_equal(output.logits, np.concatenate([tiles, -2 * tiles], axis=1))
    assert set(output.features) == {"features_0"}
    np.testing.assert_allclose(output.features["features_0"], tiles.mean(axis=(2, 3)), atol=1e-6)


@pytest.mark.parametrize("backend", PROVIDERS)
def test_answers_belong_to_the_caller(path: Path, backend: Any) -> None:
    network = open_network(path, backend=backend, threads=1)
    tiles = np.ones((1, 1, 4, 6), np.float32)
    first = network.run(tiles).logits
    first += 1
    assert network.run(2 * tiles).logits[0, 0, 0, 0] == 2
    assert first[0, 0, 0, 0] == 2
    assert tiles[0, 0, 0, 0] == 1


@pytest.mark.parametrize("backend", PROVIDERS)
def test_tiles_of_another_size_fail_with_a_reason(path: Path, backend: Any) -> None:
    network = open_network(path, backend=backend, threads=1)
    with pytest.raises(Refusal) as refusal:
        network.run(np.ones((1, 1, 4, 7), np.float32))
    assert refusal.value.code is Code.BACKEND_FAILED


@pytest.mark.parametrize("backend", PROVIDERS)
def test_files_that_are_no_network(tmp_path: Path, backend: Any) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(Refusal) as refusal:
        open_network(tmp_path / "broken.onnx", backend=backend)
    assert refusal.value.code is Code.BUNDLE_UNREADABLE
    assert "broken.onnx" in refusal.value.detail
    assert str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize(
    ("backend", "package", "named"),
    [
        ("cpu", "onnxruntime", "onnxruntime>"),
        ("openvino", "openvino", "openvino>"),
        ("cuda", "onnxruntime", "onnxruntime-gpu[cuda,cudnn]>"),
    ],
)
def test_a_missing_package_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any, package: str, named: str
) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return original(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Refusal) as refusal:
        open_network(path, backend=backend)
    assert refusal.value.code is Code.BACKEND_UNAVAILABLE
    assert "pip install" in refusal.value.remedy
    assert f'"{named}' in refusal.value.remedy


def test_a_gutted_onnxruntime_is_recognised(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
    with pytest.raises(Refusal, match="gutted"):
        open_network(path, backend="cpu")


def fake_runtime(provider: str) -> Any:
    """ONNX Runtime's GPU wheel, whose sessions end up with a provider."""
    session = SimpleNamespace(
        get_providers=lambda: [provider],
        get_inputs=lambda: [SimpleNamespace(name="x")],
        get_outputs=lambda: [SimpleNamespace(name="logits")],
    )
    return SimpleNamespace(
        InferenceSession=lambda *_, **__: session,
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *_: None),
        preload_dlls=lambda: None,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )


def test_a_gpu_that_is_asked_for_and_absent_is_never_replaced(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", fake_runtime("CPUExecutionProvider"))
    with pytest.raises(Refusal) as refusal:
        open_network(path, backend="cuda")
    assert refusal.value.code is Code.BACKEND_UNAVAILABLE
    assert refusal.value.observed == "CPUExecutionProvider"


def test_without_the_gpu_wheel_cuda_is_refused(path: Path) -> None:
    with pytest.raises(Refusal) as refusal:
        open_network(path, backend="cuda")
    assert refusal.value.code is Code.BACKEND_UNAVAILABLE


@pytest.mark.parametrize(
    ("gpu_wheel", "session", "openvino", "expected"),
    [
        (True, "CUDAExecutionProvider", True, "CUDAExecutionProvider"),
        (True, "CPUExecutionProvider", True, "OpenVINO CPU"),
        (False, "CPUExecutionProvider", True, "OpenVINO CPU"),
        (False, "CPUExecutionProvider", False, "CPUExecutionProvider"),
    ],
)
def test_auto_takes_the_fastest_that_works(
    path: Path, monkeypatch: pytest.MonkeyPatch, gpu_wheel: bool, session: str, openvino: bool, expected: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", fake_runtime(session))
    if gpu_wheel:
        monkeypatch.setattr(onnxruntime_network, "distribution", lambda _: object())
    monkeypatch.setattr(opening, "is_installed", lambda: openvino)
    assert open_network(path).provider == expected


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(path: Path, threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads is {threads}"):
        open_network(path, threads=threads)


def test_unknown_backends(path: Path) -> None:
    with pytest.raises(ValueError, match=r"'tpu'.*auto, cpu, cuda, tensorrt, openvino"):
        open_network(path, backend="tpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
    ],
)
def test_threads_follow_affinity_and_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert allowed_cores(tmp_path) == expected


def single_tiles(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.standard_normal((1, 1, 4, 6)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("backend", PROVIDERS)
def test_streams_answer_in_order(path: Path, backend: Any) -> None:
    network = open_network(path, backend=backend, threads=1)
    tiles = single_tiles(5)
    seen = []
    for tile, output in zip(tiles, stream(network, iter(tiles)), strict=True):
        np.testing.assert_array_equal(output.logits[:, :1], tile)
        seen.append(output.features["features_0"].copy())
    np.testing.assert_allclose(np.ravel(seen), [tile.mean() for tile in tiles], atol=1e-6)


def test_a_stream_that_is_left_early_leaves_the_network_free(path: Path) -> None:
    network = open_network(path, backend="openvino", threads=1)
    tiles = single_tiles(4)
    with closing(stream(network, iter(tiles))) as outputs:
        next(outputs)
    with pytest.raises(RuntimeError, match="stop"), closing(stream(network, failing(tiles))) as outputs:
        list(outputs)
    np.testing.assert_array_equal(network.run(tiles[3]).logits[:, :1], tiles[3])


def failing(tiles: list[np.ndarray]) -> Iterator[np.ndarray]:
    yield from tiles
    raise RuntimeError("stop")


def test_openvino_gives_its_memory_back_after_each_image(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = open_network(path, backend="openvino", threads=1)
    compiled, released = network._compiled, []  # type: ignore[attr-defined]

    def release_memory() -> None:
        released.append(True)
        compiled.release_memory()

    stand_in = SimpleNamespace(release_memory=release_memory)
    monkeypatch.setattr(network, "_compiled", stand_in)
    for value in (1, 2):
        with closing(stream(network, [np.full((1, 1, 4, 6), value, np.float32)] * 3)) as outputs:
            found = [float(next(outputs).logits.max()) for _ in range(value)]
            assert len(released) == value - 1
        assert found == [value] * value
        assert len(released) == value


def test_openvino_overlaps_with_the_caller(path: Path) -> None:
    """The next tile is drawn before this one's answer is given."""
    network = open_network(path, backend="openvino", threads=1)
    drawn = []

    def noted() -> Iterator[np.ndarray]:
        for index, tile in enumerate(single_tiles(4)):
            drawn.append(index)
            yield tile

    with closing(stream(network, noted())) as outputs:
        next(outputs)
        assert drawn == [0, 1]


@pytest.mark.parametrize("precision", [Precision.BFLOAT16, Precision.FLOAT16])
def test_openvino_never_emulates_a_precision(
    path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    monkeypatch.setattr(openvino_network, "native_precisions", lambda: frozenset({Precision.FLOAT32}))
    with pytest.raises(Refusal, match=f"not known to compute in {precision.value}.*emulate") as refusal:
        open_network(path, backend="openvino", precision=precision)
    assert refusal.value.code is Code.BACKEND_UNAVAILABLE


def test_openvinos_own_word_on_its_precision_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for float16, OpenVINO takes bfloat16 on some processors; on others float32."""
    monkeypatch.setattr(openvino_network, "native_precisions", lambda: frozenset(Precision))
    monkeypatch.setitem(openvino_network._TYPES, Precision.FLOAT16, "f32")
    with pytest.raises(Refusal, match="OpenVINO computes in float32 instead"):
        open_network(path, backend="openvino", precision=Precision.FLOAT16)


def test_openvino_reports_bfloat16(path: Path) -> None:
    if Precision.BFLOAT16 not in native_precisions():
        with pytest.raises(Refusal, match="not known to compute in bfloat16"):
            open_network(path, backend="openvino", precision=Precision.BFLOAT16, threads=1)
        return
    network = open_network(path, backend="openvino", precision=Precision.BFLOAT16, threads=1)
    assert network.precision == "bfloat16"
    tile = single_tiles(1)[0]
    np.testing.assert_allclose(network.run(tile).logits[:, :1], tile, rtol=2**-7)


def test_int8_is_no_flag_of_openvino(path: Path) -> None:
    with pytest.raises(ValueError, match="does not reduce a network to int8"):
        open_network(path, backend="openvino", precision=Precision.INT8)


def test_compiled_networks_are_kept_where_asked(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NNUNET_LOSSES_ENGINE_CACHE", str(tmp_path / "cache"))
    first, second = (open_network(path, backend="openvino", threads=1) for _ in range(2))
    assert list((tmp_path / "cache").iterdir())
    tile = single_tiles(1)[0]
    np.testing.assert_array_equal(first.run(tile).logits, second.run(tile).logits)


class Runtime:
    """ONNX Runtime's GPU wheel, that notes what it is asked for, and fails where told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.entries: dict[str, str] = {}
        self.providers: list[Any] = []
        self.fallback: int | None = None
        self.error = error

    def get_available_providers(self) -> list[str]:
        return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def preload_dlls(self) -> None:
        pass

    def SessionOptions(self) -> Any:
        return SimpleNamespace(add_session_config_entry=self.entries.__setitem__)

    def InferenceSession(self, _: str, __: Any, *, providers: list[Any], enable_fallback: int) -> Any:
        if self.error is not None:
            raise self.error
        self.providers, self.fallback = providers, enable_fallback
        return SimpleNamespace(
            get_providers=lambda: [providers[0][0], "CPUExecutionProvider"],
            get_inputs=lambda: [SimpleNamespace(name="x")],
            get_outputs=lambda: [SimpleNamespace(name="logits")],
            run=self.run,
        )

    def run(self, *_: Any) -> Any:
        raise RuntimeError("CUDA out of memory")


@pytest.mark.parametrize("backend", ["cuda", "tensorrt"])
def test_no_node_may_fall_back_to_the_cpu(path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any) -> None:
    runtime = Runtime()
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    network = open_network(path, backend=backend)
    assert runtime.entries == {"session.disable_cpu_ep_fallback": "1"}
    assert runtime.fallback == 0
    assert [name for name, _ in runtime.providers] == [network.provider]
    with pytest.raises(Refusal, match="out of memory") as refusal:
        network.run(single_tiles(1)[0])
    assert refusal.value.code is Code.BACKEND_FAILED


def test_float32_is_not_rounded_by_tensor_cores(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    open_network(path, backend="cuda")
    assert runtime.providers[0][1]["use_tf32"] == "0"


def test_tensorrt_reduces_and_keeps(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime()
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setenv("NNUNET_LOSSES_ENGINE_CACHE", str(tmp_path))
    network = open_network(path, backend="tensorrt", precision=Precision.FLOAT16)
    options = runtime.providers[0][1]
    assert options["trt_fp16_enable"] == "1"
    assert options["trt_engine_cache_path"] == str(tmp_path)
    assert (network.provider, network.precision) == ("TensorrtExecutionProvider", "float16")


@pytest.mark.parametrize("backend", ["cuda", "tensorrt"])
def test_a_session_that_is_refused_is_no_broken_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, backend: Any
) -> None:
    error = RuntimeError("This session contains graph nodes that are assigned to the default CPU EP")
    monkeypatch.setitem(sys.modules, "onnxruntime", Runtime(error))
    with pytest.raises(Refusal) as refusal:
        open_network(path, backend=backend)
    assert refusal.value.code is Code.BACKEND_UNAVAILABLE
    assert "default CPU EP" in str(refusal.value.observed)


def test_functions_do_not_share_memory() -> None:
    network = CallableNetwork(lambda tiles: tiles)
    tiles = np.ones((1, 1, 2, 2), np.float32)
    network.run(tiles).logits[...] = 5
    assert tiles.max() == 1
