"""A case in, an honest answer out."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.answer import Answer, EmptyMeaning, EmptyReason, Outcome, Verdict
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Case, Limits, read_mask
from nnunet_losses.serve.pipeline.segment import Segmentation
from nnunet_losses.serve.predictor import Predictor, Written

from .formats.files import cut, noise, write
from .models import channel, description, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import ModelDescription

SHAPE = (20, 24, 22)


class FakeEngine:
    """Marks voxels above a threshold as label 1; counts how often it was asked."""

    provider = "fake"
    precision = "float32"

    def __init__(self, threshold: float = 60.0, error: BaseException | None = None) -> None:
        self.threshold, self.error, self.calls = threshold, error, 0

    def segment(self, image: Image, *, progress: Callable[[int, int], None] | None = None) -> Segmentation:
        self.calls += 1
        if self.error is not None:
            raise self.error
        if progress is not None:
            progress(1, 1)
        return Segmentation((image.data[0] > self.threshold).astype(np.uint8), {"network": 0.5}, 1, 8, {})


def predictor(
    model: ModelDescription | None = None, engine: FakeEngine | None = None, **options: Any
) -> Predictor:
    bundle: Any = SimpleNamespace(description=model or description(), sha256="b" * 64, calibration=None)
    return Predictor(bundle, engine=engine or FakeEngine(), **options)


def case(folder: Path, voxels: np.ndarray | None = None, **geometry: Any) -> Case:
    geometry.setdefault("spacing", (1.0, 1.0, 1.0))
    return Case(
        "p", (write(folder / "p_0000.nii.gz", noise(SHAPE) if voxels is None else voxels, **geometry),)
    )


def test_segmented(tmp_path: Path) -> None:
    prediction = predictor().predict(case(tmp_path, spacing=(1.0, 1.0, 2.0)))
    answer, mask = prediction.answer, prediction.mask
    assert mask is not None
    assert answer.outcome is Outcome.SEGMENTED
    organ, lesion = answer.labels
    assert (organ.voxels, organ.present) == (int(mask.sum()), True)
    assert organ.volume_ml == pytest.approx(mask.sum() * 2 / 1000)
    assert (lesion.present, lesion.components) == (False, 0)
    assert (answer.empty, answer.problem) == (None, None)


def test_nothing_is_promised(tmp_path: Path) -> None:
    answer = predictor().predict(case(tmp_path)).answer
    assert answer.distribution.verdict is Verdict.NOT_CALIBRATED
    assert answer.distribution.n_calibration == 0
    assert (answer.guarantee.kind, answer.guarantee.alpha) == ("none", None)
    assert answer.quality.expected_dice is None
    assert all(label.presence_score is None for label in answer.labels)
    assert answer.policy.applied == ()


def test_the_manifest(tmp_path: Path) -> None:
    one = case(tmp_path)
    manifest = predictor().predict(one).answer.manifest
    assert manifest.model == "test"
    assert manifest.bundle_sha256 == "b" * 64
    assert manifest.input_sha256 == hashlib.sha256(one.files[0].read_bytes()).hexdigest()
    assert {"nnunet-losses", "numpy", "SimpleITK", "python"} <= manifest.versions.keys()
    assert (manifest.provider, manifest.precision) == ("fake", "float32")
    assert (manifest.tiles, manifest.forward_passes) == (1, 8)
    assert list(manifest.timings) == ["read", "contract", "network", "measure"]
    assert manifest.timings["network"] == 0.5


def test_empty_without_calibration_does_not_oversell(tmp_path: Path) -> None:
    prediction = predictor(engine=FakeEngine(threshold=1e9)).predict(case(tmp_path))
    answer = prediction.answer
    assert answer.outcome is Outcome.EMPTY
    assert answer.empty is not None
    assert answer.empty.reason is EmptyReason.NO_VOXEL_ABOVE_THRESHOLD
    assert answer.empty.meaning is EmptyMeaning.INDETERMINATE
    assert [warning.code for warning in answer.warnings] == ["answer.empty_not_calibrated"]
    assert prediction.mask is not None
    assert not prediction.mask.any()


def test_empty_of_an_unusual_image_is_indeterminate(tmp_path: Path) -> None:
    far = description(fingerprint=fingerprint(spacing_min=(9.0,) * 3, spacing_max=(9.0,) * 3))
    answer = predictor(far, FakeEngine(threshold=1e9)).predict(case(tmp_path)).answer
    assert answer.empty is not None
    assert answer.empty.meaning is EmptyMeaning.INDETERMINATE
    assert {"input.spacing_unusual", "answer.empty_not_calibrated"} <= {w.code for w in answer.warnings}


def test_blank_is_rejected_before_the_network(tmp_path: Path) -> None:
    engine = FakeEngine()
    prediction = predictor(engine=engine).predict(case(tmp_path, np.zeros(SHAPE)))
    answer = prediction.answer
    assert engine.calls == 0
    assert (answer.outcome, prediction.mask) == (Outcome.REJECTED, None)
    assert answer.problem is not None
    assert answer.problem.code == Code.CONTRACT_BLANK.value
    assert answer.empty is not None
    assert (answer.empty.reason, answer.empty.meaning) == (EmptyReason.INPUT_BLANK, EmptyMeaning.NO_DECISION)
    assert answer.labels == ()
    assert (answer.manifest.provider, answer.manifest.tiles) == (None, 0)
    assert answer.manifest.input_sha256 is not None


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd"])
def test_nan_is_rejected_with_figures(tmp_path: Path, ending: str) -> None:
    voxels = noise(SHAPE)
    voxels[1, 2, 3] = np.nan
    file = write(tmp_path / f"p{ending}", voxels)
    answer = predictor().predict(Case("p", (file,))).answer
    assert answer.problem is not None
    assert answer.problem.observed == {"voxels": 1, "first": [1, 2, 3]}
    assert answer.empty is None


def test_channels_apart_are_rejected(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    first, second = case(tmp_path / "a"), case(tmp_path / "b")
    far = case(tmp_path / "c", origin=(50.0, 0.0, 0.0))
    model = description(channel("T1"), channel("FLAIR"))
    assert predictor(model).predict(Case("p", first.files + second.files)).answer.outcome is Outcome.SEGMENTED
    answer = predictor(model).predict(Case("p", first.files + far.files)).answer
    assert answer.outcome is Outcome.REJECTED
    assert answer.problem is not None
    assert answer.problem.code == Code.CONTRACT_GEOMETRY_MISMATCH.value
    assert answer.manifest.input_sha256 is None


def test_an_undecodable_file_has_no_answer(tmp_path: Path) -> None:
    one = case(tmp_path)
    cut(one.files[0], 0.5)
    with pytest.raises(Refusal) as caught:
        predictor().predict(one)
    assert caught.value.code is Code.INPUT_TRUNCATED


def test_a_breach_that_the_pipeline_finds_is_an_answer(tmp_path: Path) -> None:
    refusal = Refusal(Code.CONTRACT_SIZE, "Too small.", remedy="Send more.")
    answer = predictor(engine=FakeEngine(error=refusal)).predict(case(tmp_path)).answer
    assert answer.problem is not None
    assert answer.problem.detail == "Too small."


def test_engines_that_fail_are_no_answer(tmp_path: Path) -> None:
    refusal = Refusal(Code.BACKEND_FAILED, "Broken.", remedy="Mend it.")
    with pytest.raises(Refusal, match=r"Broken\."):
        predictor(engine=FakeEngine(error=refusal)).predict(case(tmp_path))
    with pytest.raises(Refusal, match="memory"):
        predictor(engine=FakeEngine(error=MemoryError())).predict(case(tmp_path))


def test_progress_may_cancel(tmp_path: Path) -> None:
    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predictor().predict(case(tmp_path), progress=cancel)


def test_limits_are_kept(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        predictor(limits=Limits(decoded_bytes=100)).predict(case(tmp_path))
    assert caught.value.code is Code.INPUT_TOO_LARGE
    answer = predictor(limits=Limits(memory_bytes=100)).predict(case(tmp_path)).answer
    assert answer.problem is not None
    assert answer.problem.code == Code.CONTRACT_SIZE.value


def test_files_of_an_answer(tmp_path: Path) -> None:
    written = predictor().predict_to_folder(case(tmp_path), tmp_path / "out" / "deep")
    assert written.mask_file == tmp_path / "out" / "deep" / "p.nii.gz"
    assert Answer.model_validate_json(written.answer_file.read_bytes()) == written.answer
    sha256 = hashlib.sha256(written.mask_file.read_bytes()).hexdigest()
    assert written.answer.manifest.mask_sha256 == sha256
    assert int(read_mask(written.mask_file).sum()) == written.answer.labels[0].voxels
    assert {path.name for path in written.answer_file.parent.iterdir()} == {"p.nii.gz", "p.json"}


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    one = case(tmp_path)
    files = [predictor().predict_to_folder(one, tmp_path / name).mask_file for name in "ab"]
    assert files[0] is not None
    assert files[1] is not None
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_rejection_leaves_no_earlier_mask(tmp_path: Path) -> None:
    predictor().predict_to_folder(case(tmp_path), tmp_path / "out")
    written = predictor().predict_to_folder(case(tmp_path, np.zeros(SHAPE)), tmp_path / "out")
    assert written == Written(written.answer, tmp_path / "out" / "p.json", None)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"p.json"}
    assert json.loads(written.answer_file.read_text())["outcome"] == "rejected"


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    file = write(tmp_path / "p.nii.gz", noise(SHAPE))
    before = file.read_bytes()
    with pytest.raises(ValueError, match="overwrite"):
        predictor().predict_to_folder(Case("p", (file,)), tmp_path)
    assert file.read_bytes() == before


def test_a_case_that_never_became_an_image(tmp_path: Path) -> None:
    breach = Refusal(Code.CONTRACT_CHANNEL_COUNT, "One is missing.", remedy="Send it.")
    written = predictor().reject_to_folder("p", breach, tmp_path)
    assert written.answer.outcome is Outcome.REJECTED
    assert written.answer_file.name == "p.json"
    with pytest.raises(Refusal):
        predictor().reject_to_folder("p", Refusal(Code.INPUT_CORRUPT, "A.", remedy="B."), tmp_path)


@pytest.mark.parametrize("name", ["volume_bundle", "region_bundle", "rgb_bundle"])
def test_a_real_bundle_gives_the_bytes_of_nnunet(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    files = tuple(bundle.file(path) for path in bundle.description.golden.inputs)
    written = Predictor(bundle, backend="cpu", threads=1).predict_to_folder(
        Case("p", files), tmp_path / "ours"
    )
    assert written.answer.outcome is Outcome.SEGMENTED
    assert written.mask_file is not None
    theirs = bundle.file(bundle.description.golden.mask)  # written by nnU-Net's own predictor at export
    assert written.mask_file.read_bytes() == theirs.read_bytes()
    assert written.answer.manifest.provider == "CPUExecutionProvider"
    assert "onnxruntime" in written.answer.manifest.versions
