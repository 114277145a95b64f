"""Which engine and precision a bundle gets, and what is said about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.backends import NetworkOpener, choosing
from nnunet_losses.serve.backends.choosing import choices
from nnunet_losses.serve.backends.processor import native_precisions
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.schema import (
    Evidence,
    LabelEvidence,
    ModelDescription,
    Precision,
    Variant,
    VariantFile,
)

from ..models import HASH, description

if TYPE_CHECKING:
    from pathlib import Path

ALL = frozenset(Precision)
CUDA, CPU, OPENVINO = "CUDAExecutionProvider", "CPUExecutionProvider", "OpenVINO CPU"


def variant(
    precision: Precision, engine: str, *, failures: tuple[str, ...] = (), seconds: float = 0.5
) -> Variant:
    name = f"fold_0.{precision.value}.onnx"
    file = VariantFile(member="3d_fullres", fold="0", file=name, sha256=HASH)
    return Variant(
        precision=precision,  # type: ignore[arg-type]  # float32 is none
        files=() if precision is Precision.BFLOAT16 else (file,),
        evidence=Evidence(
            created="2026-11-01T00:00:00Z", engine=engine, reference_engine=OPENVINO, versions={},
            with_labels=True, cases=3, voxels=100, differing_voxels=1,
            labels=(LabelEvidence(label="organ", cases=3, agreement=1, least_agreement=1, drop=0),),
            float32_sha256={"fold_0.onnx": HASH}, drop_allowed=0.001, agreement_required=0.998,
            tile_seconds_float32=1.0, tile_seconds=seconds,
            failures=failures,
        ),
        forced=bool(failures),
    )  # fmt: skip


BFLOAT16 = variant(Precision.BFLOAT16, OPENVINO)
FLOAT16 = variant(Precision.FLOAT16, CUDA)
INT8 = variant(Precision.INT8, CPU)
FORCED = variant(Precision.BFLOAT16, OPENVINO, failures=("organ loses 0.1 Dice",))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU, both engines, and a processor that has everything."""
    monkeypatch.setattr(choosing, "candidates", lambda: ["cuda", "openvino", "cpu"])
    monkeypatch.setattr(choosing, "native_precisions", lambda: ALL)


def model(*variants: Variant) -> ModelDescription:
    return description(variants=variants)


def order(model: ModelDescription, backend: Any = "auto", precision: Any = "auto") -> list[tuple[str, str]]:
    return [(choice.backend, choice.precision.value) for choice in choices(model, backend, precision)]


def test_without_proof_everything_is_float32() -> None:
    assert order(model()) == [("cuda", "float32"), ("openvino", "float32"), ("cpu", "float32")]


def test_proofs_are_used_where_their_engine_is() -> None:
    assert order(model(BFLOAT16, FLOAT16, INT8)) == [
        ("cuda", "float16"),
        ("cuda", "float32"),
        ("openvino", "bfloat16"),
        ("cpu", "int8"),
        ("openvino", "float32"),
        ("cpu", "float32"),
    ]
    assert order(model(BFLOAT16, INT8), "cpu") == [("cpu", "int8"), ("cpu", "float32")]
    assert order(model(BFLOAT16), "openvino") == [("openvino", "bfloat16"), ("openvino", "float32")]


def test_tensorrt_is_only_taken_when_asked_for() -> None:
    assert all(backend != "tensorrt" for backend, _ in order(model(FLOAT16)))
    assert order(model(), "tensorrt") == [("tensorrt", "float32")]
    assert order(model(variant(Precision.FLOAT16, "TensorrtExecutionProvider")), "tensorrt") == [
        ("tensorrt", "float16"),
        ("tensorrt", "float32"),
    ]


@pytest.mark.parametrize(
    "unproven",
    [FORCED, variant(Precision.BFLOAT16, CPU), variant(Precision.BFLOAT16, OPENVINO, seconds=1.1)],
)
def test_auto_leaves_failed_proofs_other_engines_proofs_and_what_is_slow_alone(unproven: Variant) -> None:
    assert order(model(unproven), "openvino") == [("openvino", "float32")]


def test_auto_leaves_emulation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "native_precisions", lambda: frozenset({Precision.FLOAT32}))
    assert order(model(BFLOAT16, INT8)) == [("cuda", "float32"), ("openvino", "float32"), ("cpu", "float32")]


@pytest.mark.parametrize(
    ("backend", "precision", "message"),
    [
        ("auto", "int8", r"has no int8 network, which cpu needs.*nnunet-losses variant BUNDLE int8"),
        ("cuda", "float16", r"has no float16 network, which cuda needs.*variant BUNDLE fp16"),
        ("cpu", "bfloat16", r"backend cpu never computes in bfloat16.*openvino"),
        ("cuda", "int8", r"backend cuda never computes in int8.*cpu"),
    ],
)
def test_what_cannot_be_had_is_refused(backend: Any, precision: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message) as refusal:
        choices(model(), backend, precision)
    assert refusal.value.code is Code.BACKEND_UNAVAILABLE


@pytest.mark.parametrize(("backend", "precision"), [("tpu", "auto"), ("auto", "float64")])
def test_unknown_names(backend: Any, precision: Any) -> None:
    with pytest.raises(ValueError, match=r"tpu|float64"):
        choices(model(), backend, precision)


class Opened:
    """Stands in for ``open_network``."""

    def __init__(self, works: set[str]) -> None:
        self.works = works
        self.calls: list[tuple[str, str, str]] = []

    def __call__(self, path: Path, *, backend: str, precision: Precision, threads: int | None) -> Any:
        self.calls.append((path.name, backend, precision.value))
        if backend not in self.works:
            raise Refusal(Code.BACKEND_UNAVAILABLE, "It is not there.", remedy="Get one.")
        return object()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("fold_0.onnx", "fold_0.float16.onnx", "fold_0.int8.onnx"):
        (tmp_path / name).touch()
    return tmp_path


def opener(
    folder: Path, monkeypatch: pytest.MonkeyPatch, works: set[str], *variants: Variant, **options: Any
) -> Any:
    opened = Opened(works)
    monkeypatch.setattr(choosing, "open_network", opened)
    return NetworkOpener(Bundle(folder, model(*variants)), **options), opened


def test_the_first_that_works_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, opened = opener(folder, monkeypatch, {"openvino", "cpu"}, FLOAT16, BFLOAT16)
    member = networks.bundle.description.members[0]
    networks(member, 0)
    assert opened.calls == [
        ("fold_0.float16.onnx", "cuda", "float16"),
        ("fold_0.onnx", "cuda", "float32"),
        ("fold_0.onnx", "openvino", "bfloat16"),
    ]
    networks(member, 0)
    assert len(opened.calls) == 4, "the second network does not try the GPU again"
    assert networks.warnings == ()


def test_a_gpu_that_was_asked_for_is_never_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, opened = opener(folder, monkeypatch, {"openvino", "cpu"}, backend="cuda")
    with pytest.raises(Refusal, match="not there"):
        networks(networks.bundle.description.members[0], 0)
    assert [backend for _, backend, _ in opened.calls] == ["cuda"]


@pytest.mark.parametrize(
    ("variants", "precision", "backend", "code"),
    [
        ((), "bfloat16", "auto", "precision.unproven"),
        ((FORCED,), "bfloat16", "auto", "precision.forced"),
        ((FLOAT16,), "float16", "cpu", "precision.proven_elsewhere"),
        ((BFLOAT16,), "bfloat16", "auto", None),
        ((FORCED,), "float32", "auto", None),
    ],
)
def test_answers_say_what_is_not_proven(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    variants: tuple[Variant, ...],
    precision: str,
    backend: str,
    code: str | None,
) -> None:
    networks, _ = opener(
        folder, monkeypatch, {"openvino", "cpu"}, *variants, precision=precision, backend=backend
    )
    networks(networks.bundle.description.members[0], 0)
    assert [found for found, _ in networks.warnings] == ([] if code is None else [code])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2", {"float32"}),
        ("flags : avx512f avx512_bf16 avx512_vnni", {"float32", "bfloat16", "int8"}),
        ("flags : amx_bf16 amx_int8 avx512_fp16", {"float32", "bfloat16", "int8", "float16"}),
        ("Features : fp asimd asimdhp bf16 asimddp", {"float32", "bfloat16", "int8", "float16"}),
        ("model name : avx512_bf16", {"float32"}),
        ("", {"float32"}),
    ],
)
def test_processors(tmp_path: Path, line: str, expected: set[str]) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor : 0\n{line}\n\nflags : nothing\n")
    assert {precision.value for precision in native_precisions(tmp_path / "cpuinfo")} == expected
