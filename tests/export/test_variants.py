"""Reduced precisions: what the evidence counts, what is refused, and what a bundle then does."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.export import variants
from nnunet_losses.export.errors import ExportError, GraphError, VariantRefused
from nnunet_losses.export.evidence import Comparison, failures
from nnunet_losses.export.variant_graphs import reduce_graph
from nnunet_losses.export.variants import add_variant
from nnunet_losses.serve.backends import choosing
from nnunet_losses.serve.backends.processor import native_precisions
from nnunet_losses.serve.bundle import DESCRIPTION, Bundle, write_sums
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import find_cases
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.schema import Evidence, Label, Precision

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Exported

LABELS = (
    Label(name="organ", channel=1, value=1, members=(1,)),
    Label(name="lesion", channel=2, value=2, members=(2,)),
)


def mask(*values: int) -> np.ndarray:
    return np.array(values, np.int64).reshape(1, 1, -1)


def test_dice_is_counted_against_the_reference() -> None:
    comparison = Comparison(LABELS)
    comparison.add("good", mask(1, 1, 0, 0), mask(1, 1, 0, 0), mask(1, 1, 0, 0))
    comparison.add("bad", mask(1, 1, 0, 0), mask(1, 0, 0, 0), mask(1, 1, 0, 0))
    organ, lesion = comparison.evidence()
    assert (organ.cases, organ.dice_float32, organ.dice) == (2, 1.0, pytest.approx((1 + 2 / 3) / 2))
    assert organ.drop == pytest.approx(1 / 6)
    assert (organ.largest_drop, organ.worst_case) == (pytest.approx(1 / 3), "bad")
    assert organ.agreement == pytest.approx((1 + 2 / 3) / 2)
    assert organ.least_agreement == pytest.approx(2 / 3)
    assert (lesion.cases, lesion.drop, lesion.agreement) == (0, None, None)
    assert (comparison.cases, comparison.voxels, comparison.differing_voxels) == (2, 8, 1)
    first, second, third = failures(comparison.evidence(), 0.99)
    assert first == "organ loses 0.1667 Dice, more than 0.001"
    assert second == "organ has Dice 0.8333 against the float32 mask, less than 0.99"
    assert third == "lesion is in none of the images, so nothing is known about it"


def test_without_a_reference_the_float32_mask_is_the_reference() -> None:
    comparison = Comparison(LABELS[:1])
    comparison.add("case", mask(1, 1, 1, 0), mask(1, 1, 0, 0), None)
    (organ,) = comparison.evidence()
    assert organ.dice_float32 is None
    assert organ.drop == pytest.approx(0.2)


def test_a_label_that_appears_or_vanishes_counts() -> None:
    comparison = Comparison(LABELS[:1])
    comparison.add("appears", mask(0, 0), mask(1, 0), mask(0, 0))
    comparison.add("only the reference has it", mask(0, 0), mask(0, 0), mask(1, 0))
    comparison.add("nobody has it", mask(0, 0), mask(0, 0), mask(0, 0))
    (organ,) = comparison.evidence()
    assert organ.cases == 2
    assert organ.largest_drop == 1
    assert organ.drop == pytest.approx(0.5)


def test_doing_better_than_float32_is_not_enough_agreement() -> None:
    comparison = Comparison(LABELS[:1])
    comparison.add("case", mask(1, 0, 0), mask(1, 1, 0), mask(1, 1, 0))
    (organ,) = comparison.evidence()
    assert organ.drop is not None
    assert organ.drop < 0
    assert failures([organ], 0.998) == ("organ has Dice 0.6667 against the float32 mask, less than 0.998",)


def test_masks_of_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"case a have the shapes.*\(1, 1, 2\).*\(1, 1, 3\)"):
        Comparison(LABELS).add("a", mask(1, 1), mask(1, 1), mask(1, 1, 1))


def tiles(exported: Exported) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    shape = (1, len(exported.spec.channels), *exported.spec.patch_size)
    return [generator.normal(size=shape).astype(np.float32) for _ in range(2)]


def operators(path: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for node in onnx.load(path).graph.node:
        found.setdefault(node.op_type, []).append(node)
    return found


def source(exported: Exported) -> Path:
    bundle = Bundle.load(exported.bundle)
    return bundle.file(bundle.description.members[0].folds[0].file)


def test_int8_leaves_the_first_and_the_last_convolution_alone(plain: Exported, tmp_path: Path) -> None:
    before = operators(source(plain))
    reduce_graph(source(plain), tmp_path / "int8.onnx", Precision.INT8, tiles(plain))
    after = operators(tmp_path / "int8.onnx")
    assert len(after["QLinearConv"]) == len(before["Conv"]) - 2
    assert {"input", "logits"} == {
        name for node in after["Conv"] for name in (*node.input, *node.output) if name in ("input", "logits")
    }
    scales = {value.name: list(value.dims) for value in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    assert any(len(dims) == 1 and dims[0] > 1 for name, dims in scales.items() if "scale" in name), (
        "per channel"
    )


def test_float16_normalises_in_float32(plain: Exported, tmp_path: Path) -> None:
    reduce_graph(source(plain), tmp_path / "half.onnx", Precision.FLOAT16, ())
    model = onnx.load(tmp_path / "half.onnx")
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    stored = {value.name: value.data_type for value in model.graph.initializer}
    cast = {node.output[0]: node.attribute[0].i for node in model.graph.node if node.op_type == "Cast"}
    for node in model.graph.node:
        if node.op_type in ("InstanceNormalization", "ReduceMean"):
            assert cast.get(node.input[0], single) == single
        if node.op_type == "InstanceNormalization":
            assert cast[node.input[0]] == single
        if node.op_type == "Conv":
            assert stored[node.input[1]] == half
    assert len(cast) == sum(node.op_type == "Cast" for node in model.graph.node), "no cast twice"
    ends = (*model.graph.input, *model.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {single}


def test_bfloat16_needs_no_file(plain: Exported, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bfloat16 needs no file"):
        reduce_graph(source(plain), tmp_path / "x.onnx", Precision.BFLOAT16, ())


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random networks decide by chance: here they may lose some Dice."""
    monkeypatch.setattr("nnunet_losses.export.evidence.DROP_ALLOWED", 0.3)
    monkeypatch.setattr(variants, "AGREEMENT_REQUIRED", dict.fromkeys(Precision, 0.7))


@pytest.mark.usefixtures("lenient")
def test_int8_is_proven_stored_and_used(plain: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Bundle.load(plain.bundle)
    made = add_variant(plain.bundle, Precision.INT8, [plain.images], threads=1)
    after = Bundle.load(plain.bundle)
    assert after.description.variants == (made,)
    assert made.evidence.passed
    assert not made.forced
    assert made.evidence.engine == "CPUExecutionProvider"
    assert made.evidence.cases == 2
    assert made.evidence.speed == pytest.approx(
        made.evidence.tile_seconds_float32 / made.evidence.tile_seconds
    )
    assert [label.label for label in made.evidence.labels] == ["lesion", "organ"]
    fold = after.description.members[0].folds[0]
    assert made.evidence.float32_sha256 == {fold.file: fold.sha256}
    assert after.description.members == before.description.members
    card = (plain.bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| int8 | passed on 2 cases with CPUExecutionProvider | lesion |" in card
    assert after.file(made.files[0].file).stat().st_size < after.file(fold.file).stat().st_size
    # auto takes it where the processor computes in int8, and only there
    monkeypatch.setattr(choosing, "native_precisions", lambda: frozenset(Precision))
    monkeypatch.setattr(Evidence, "speed", 2.0)
    assert Segmenter(after, backend="cpu", threads=1).precision == "int8"
    monkeypatch.setattr(choosing, "native_precisions", lambda: frozenset({Precision.FLOAT32}))
    assert Segmenter(after, backend="cpu", threads=1).precision == "float32"
    # and was faster
    monkeypatch.setattr(choosing, "native_precisions", lambda: frozenset(Precision))
    monkeypatch.setattr(Evidence, "speed", 0.5)
    assert Segmenter(after, backend="cpu", threads=1).precision == "float32"


@pytest.mark.usefixtures("lenient")
def test_a_second_variant_stands_beside_the_first_and_replaces_its_own(plain: Exported) -> None:
    add_variant(plain.bundle, Precision.FLOAT16, [plain.images], threads=1)
    add_variant(plain.bundle, Precision.INT8, [plain.images], threads=1)
    first = Bundle.load(plain.bundle).description.variants
    assert [variant.precision.value for variant in first] == ["float16", "int8"]
    add_variant(plain.bundle, Precision.FLOAT16, [plain.images], threads=1)
    again = Bundle.load(plain.bundle).description.variants
    assert [variant.precision.value for variant in again] == ["int8", "float16"]


def sabotage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reduced network decides against its logits."""
    import nnunet_losses.export.variant_graphs as graphs

    def upside_down(path: Path, target: Path, *_: Any) -> None:
        model = onnx.load(path)
        last = next(node for node in model.graph.node if "logits" in node.output)
        for value in model.graph.initializer:
            if value.name in last.input:
                weights = onnx.numpy_helper.to_array(value)
                value.CopyFrom(onnx.numpy_helper.from_array(-weights, value.name))
        onnx.save(model, target)

    monkeypatch.setattr(graphs, "reduce_graph", upside_down)


def test_harm_is_refused_and_leaves_the_bundle_alone(
    plain: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Bundle.load(plain.bundle).sha256
    sabotage(monkeypatch)
    with pytest.raises(VariantRefused, match=r"float16 is not kept. On 2 images:\n- .* loses") as refused:
        add_variant(plain.bundle, Precision.FLOAT16, [plain.images], threads=1)
    assert refused.value.variant.evidence.differing_voxels > 0
    assert Bundle.load(plain.bundle).sha256 == before
    assert [path.name for path in plain.bundle.parent.glob(".*")] == []


def test_force_keeps_harm_and_every_answer_says_so(plain: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch)
    made = add_variant(plain.bundle, Precision.FLOAT16, [plain.images], force=True, threads=1)
    assert made.forced
    bundle = Bundle.load(plain.bundle)
    (case, *_) = find_cases([plain.images], bundle.description)
    answer = Predictor(bundle, backend="cpu", precision="float16", threads=1).predict(case).answer
    warning = next(warning for warning in answer.warnings if warning.code == "precision.forced")
    assert made.evidence.failures[0] in warning.message
    assert answer.manifest.precision == "float16"
    unasked = Predictor(bundle, backend="cpu", threads=1).predict(case).answer
    assert unasked.manifest.precision == "float32"
    assert all(not warning.code.startswith("precision") for warning in unasked.warnings)


def test_forcing_what_is_proven_is_no_force(plain: Exported) -> None:
    """float16 on ONNX Runtime's CPU: against reference labels that are the float32 masks themselves."""
    labels = plain.images.parent / "labels"
    bundle = Bundle.load(plain.bundle)
    predictor = Predictor(bundle, backend="cpu", precision="float32", threads=1)
    for case in find_cases([plain.images], bundle.description):
        predictor.predict_to_folder(case, labels)
    made = add_variant(plain.bundle, Precision.FLOAT16, [plain.images], labels=labels, force=True, threads=1)
    assert made.evidence.with_labels
    assert made.forced is not made.evidence.passed
    assert all((label.dice_float32 or 0) > 0.99 for label in made.evidence.labels)


def test_bfloat16_is_a_flag(plain: Exported) -> None:
    if Precision.BFLOAT16 not in native_precisions():
        with pytest.raises(Refusal, match="not known to compute in bfloat16"):
            add_variant(plain.bundle, Precision.BFLOAT16, [plain.images], threads=1)
        return
    made = add_variant(plain.bundle, Precision.BFLOAT16, [plain.images], force=True, threads=1)
    assert made.files == ()
    assert made.evidence.engine == "OpenVINO CPU"
    assert Bundle.load(plain.bundle).description.variants == (made,)


def test_missing_images_and_labels(plain: Exported, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    with pytest.raises(ExportError, match=r"no labels for 2 cases, such as case0.nii.gz"):
        add_variant(plain.bundle, Precision.INT8, [plain.images], labels=tmp_path / "labels")
    (tmp_path / "none").mkdir()
    with pytest.raises((ExportError, Refusal)):
        add_variant(plain.bundle, Precision.INT8, [tmp_path / "none"])


def test_labels_on_another_grid(plain: Exported, tmp_path: Path) -> None:
    import SimpleITK as sitk

    for case in ("case0", "case1"):
        image = sitk.GetImageFromArray(np.ones((3, 4, 5), np.uint8))
        sitk.WriteImage(image, str(tmp_path / f"{case}.nii.gz"))
    with pytest.raises(ExportError, match=r"labels do not fit: the masks of case case0 have the shapes"):
        add_variant(plain.bundle, Precision.FLOAT16, [plain.images], labels=tmp_path, threads=1)


def test_what_cannot_be_reduced(plain: Exported, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="cannot be reduced to int8"):
        reduce_graph(source(plain), tmp_path / "x.onnx", Precision.INT8, [])


@pytest.mark.usefixtures("lenient")
def test_archives(plain: Exported, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", plain.bundle)
    made = add_variant(archive, Precision.FLOAT16, [plain.images], threads=1)
    assert Bundle.load(archive).description.variants == (made,)


@pytest.mark.usefixtures("lenient")
def test_variants_are_checked_like_everything_else(plain: Exported) -> None:
    made = add_variant(plain.bundle, Precision.FLOAT16, [plain.images], threads=1)
    file = plain.bundle / made.files[0].file
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    with pytest.raises(Refusal) as refusal:
        Bundle.load(plain.bundle)
    assert refusal.value.code is Code.BUNDLE_HASH_MISMATCH
    write_sums(plain.bundle)
    with pytest.raises(Refusal, match=r"is not the file that model\.json describes"):
        Bundle.load(plain.bundle)
    file.write_bytes(content)
    change(plain.bundle, lambda variant: variant["evidence"]["float32_sha256"].clear())
    with pytest.raises(Refusal, match="evidence of the variant float16 is about other networks"):
        Bundle.load(plain.bundle)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda variant: variant.update(files=[], precision="int8"), "int8 has no files"),
        (lambda variant: variant["files"][0].update(fold="7"), "has files for"),
        (lambda variant: variant["evidence"].update(failures=["bad"]), "failed, and it was not forced"),
        (lambda variant: variant.update(precision="float32"), "precision"),
    ],
)
@pytest.mark.usefixtures("lenient")
def test_variants_that_contradict_themselves(plain: Exported, damage: Any, message: str) -> None:
    add_variant(plain.bundle, Precision.FLOAT16, [plain.images], threads=1)
    change(plain.bundle, damage)
    with pytest.raises(Refusal, match=message) as refusal:
        Bundle.load(plain.bundle)
    assert refusal.value.code is Code.BUNDLE_UNSUPPORTED


def change(bundle: Path, damage: Any) -> None:
    content = json.loads((bundle / DESCRIPTION).read_text())
    damage(content["variants"][0])
    (bundle / DESCRIPTION).write_text(json.dumps(content))
    write_sums(bundle)


def test_bundles_from_before_variants(plain: Exported) -> None:
    content = json.loads((plain.bundle / DESCRIPTION).read_text())
    del content["variants"]
    (plain.bundle / DESCRIPTION).write_text(json.dumps(content))
    write_sums(plain.bundle)
    assert Bundle.load(plain.bundle).description.variants == ()


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.usefixtures("lenient")
def test_the_command(plain: Exported) -> None:
    result = run("variant", plain.bundle, "fp16", "--calibration-images", plain.images, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "Kept: predictions" in result.output
    assert Bundle.load(plain.bundle).description.variants[0].precision is Precision.FLOAT16


def test_the_command_refuses(plain: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch)
    words = ("variant", plain.bundle, "fp16", "--calibration-images", plain.images, "--threads", 1)
    result = run(*words)
    assert result.exit_code == 1
    assert "Error: float16 is not kept" in result.output
    assert run(*words, "--force").exit_code == 0


def test_wrong_command_lines(plain: Exported) -> None:
    assert "--calibration-images" in run("variant", plain.bundle, "fp16").output
    assert run("variant", plain.bundle, "fp16").exit_code == 2
    assert run("variant", plain.bundle, "fp8", "--calibration-images", plain.images).exit_code == 2
    assert run("variant", plain.model, "fp16", "--calibration-images", plain.images).exit_code == 2
    result = run("export", plain.model, plain.bundle.parent / "new", "--variant", "fp16")
    assert result.exit_code == 2
    assert "go together" in result.output


@pytest.mark.usefixtures("lenient")
def test_export_with_a_variant(plain: Exported) -> None:
    target = plain.bundle.parent / "new"
    result = run("export", plain.model, target, "--variant", "fp16", "--calibration-images", plain.images)
    assert result.exit_code == 0, result.output
    assert Bundle.load(target).description.variants[0].precision is Precision.FLOAT16
