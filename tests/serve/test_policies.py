"""Wishes on the whole road: from a bundle to the files, and on the command line."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.answer import Distribution, Outcome, Verdict
from nnunet_losses.serve.batch import Batch
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Case, read_mask
from nnunet_losses.serve.outputs import Options
from nnunet_losses.serve.outputs.case_files import FurtherFiles
from nnunet_losses.serve.policies import EmptyPolicy, OodPolicy, Policies
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.result_files import check_output
from nnunet_losses.serve.safety.calibration import Calibration
from nnunet_losses.serve.safety.presence_section import (
    ComponentScore,
    LabelPresence,
    PresenceGuarantee,
    PresenceSection,
)
from nnunet_losses.serve.safety.quality_section import QualitySection

from .formats.files import noise, write

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from nnunet_losses.serve.bundle import Bundle

SHAPE = (20, 24, 22)


def image(folder: Path, name: str = "p") -> Path:
    return write(folder / f"{name}_0000.nii.gz", noise(SHAPE), spacing=(1.0, 1.0, 1.0))


def calibrated(bundle: Bundle, threshold: float) -> Predictor:
    """A predictor that calls everything empty below, and present above, one score."""
    labels = tuple(
        LabelPresence(
            label=label.name,
            guarantee=PresenceGuarantee.CONFORMAL,
            score=ComponentScore(),
            lower=threshold,
            upper=threshold,
            lesion_free=(0.0,) * 19,
            lesion_bearing=(1.0,) * 19,
            n_lesion_free=19,
        )
        for label in bundle.description.labels
    )
    predictor = Predictor(bundle, backend="cpu", threads=1)
    predictor.calibration = Calibration.model_construct(
        presence=PresenceSection(labels=labels),
        quality=QualitySection(kind="constant", intercept=0.8, lower=-0.3, upper=0.1, n=20),
        distribution=None,
        precision="float32",
    )
    return predictor


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_everything_below_the_threshold_leaves_the_mask(volume_bundle: Bundle, tmp_path: Path) -> None:
    asked = Policies(empty=EmptyPolicy.RAW)
    case, out = Case("p", (image(tmp_path),)), tmp_path / "out"
    plain = Predictor(volume_bundle, backend="cpu", threads=1).predict(case)
    written = calibrated(volume_bundle, 1e6).predict_to_folder(case, out, policies=asked)
    answer = written.answer
    assert answer.outcome is Outcome.EMPTY
    assert written.mask_file is not None
    assert not read_mask(written.mask_file).any()
    assert written.further == {"raw": out / "p_raw.nii.gz"}
    assert plain.mask is not None
    assert np.array_equal(read_mask(out / "p_raw.nii.gz"), plain.mask)
    listed = sum(row["voxels"] for row in answer.policy.removed_components)
    assert listed == np.count_nonzero(plain.mask)
    assert answer.quality.expected_dice is None
    assert all(label.presence is not None for label in answer.labels)


def test_what_is_above_stays(volume_bundle: Bundle, tmp_path: Path) -> None:
    case = Case("p", (image(tmp_path),))
    plain = Predictor(volume_bundle, backend="cpu", threads=1).predict(case)
    prediction = calibrated(volume_bundle, 0.0).predict(case)
    assert prediction.answer.outcome is Outcome.SEGMENTED
    assert plain.mask is not None
    assert prediction.mask is not None
    assert np.array_equal(prediction.mask, plain.mask)
    assert prediction.answer.guarantee.kind == "conformal"
    quality = prediction.answer.quality
    assert (quality.expected_dice, quality.interval, quality.n) == (0.8, pytest.approx((0.5, 0.9)), 20)


def test_a_wish_holds_for_one_case(volume_bundle: Bundle, tmp_path: Path) -> None:
    predictor, case = calibrated(volume_bundle, 1e6), Case("p", (image(tmp_path),))
    rejected = predictor.predict(case, policies=Policies(empty=EmptyPolicy.REJECT))
    assert (rejected.answer.outcome, rejected.mask) == (Outcome.REJECTED, None)
    assert predictor.predict(case).answer.outcome is Outcome.EMPTY


@pytest.mark.parametrize(
    ("name", "ending"), [("volume_bundle", ".nii.gz"), ("region_bundle", ".nii.gz"), ("rgb_bundle", ".png")]
)
def test_a_map_lies_on_the_image(
    name: str, ending: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(name)
    inputs = tuple(bundle.file(path) for path in bundle.description.golden.inputs)
    predictor = Predictor(bundle, backend="cpu", threads=1, policies=Policies(uncertainty=True))
    written = predictor.predict_to_folder(Case("p", inputs), tmp_path)
    assert written.mask_file is not None
    values, mask = read_mask(tmp_path / f"p_uncertainty{ending}"), read_mask(written.mask_file)
    assert values.shape == mask.shape
    (said,) = written.answer.quality.uncertainty
    assert (said.measure, said.file) == ("entropy", f"p_uncertainty{ending}")
    assert written.answer.quality.uncertainty_map == said.file
    assert said.mean_in_mask == pytest.approx(values[mask > 0].mean() / 255, abs=1e-6)
    assert values.max() > values.min()


def test_old_further_files_vanish_but_no_other_case(volume_bundle: Bundle, tmp_path: Path) -> None:
    predictor, out = calibrated(volume_bundle, 1e6), tmp_path / "out"
    case = Case("p", (image(tmp_path),))
    predictor.predict_to_folder(case, out, policies=Policies(empty=EmptyPolicy.RAW, uncertainty=True))
    assert files(out) == {"p.json", "p.nii.gz", "p_raw.nii.gz", "p_uncertainty.nii.gz"}
    predictor.predict_to_folder(Case("p_raw", case.files), out)
    predictor.predict_to_folder(case, out)
    assert files(out) == {"p.json", "p.nii.gz", "p_raw.json", "p_raw.nii.gz"}
    with pytest.raises(Refusal) as caught:
        predictor.predict_to_folder(case, out, policies=Policies(empty=EmptyPolicy.RAW))
    assert caught.value.code is Code.OUTPUT_IMPOSSIBLE


def test_a_further_file_never_takes_an_input_s_place(volume_bundle: Bundle, tmp_path: Path) -> None:
    file = write(tmp_path / "p_uncertainty.nii.gz", noise(SHAPE), spacing=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="is an input; choose another folder"):
        check_output(Case("p", (file,)), tmp_path, volume_bundle.description)


def test_an_output_never_takes_an_input_s_place(volume_bundle: Bundle, tmp_path: Path) -> None:
    file = write(tmp_path / "p.nrrd", noise(SHAPE), spacing=(1.0, 1.0, 1.0))
    before = file.read_bytes()
    result = predict(volume_bundle, file, "-o", tmp_path, "--outputs", "nrrd")
    assert result.exit_code == 2
    assert "p.nrrd would overwrite an input" in result.output
    assert file.read_bytes() == before


def test_nothing_of_an_earlier_run_stands_beside_a_rejection(volume_bundle: Bundle, tmp_path: Path) -> None:
    out, kinds = tmp_path / "out", "nrrd,mha,probabilities,png"
    arguments = (image(tmp_path), "-o", out, "--outputs", kinds)  # the second time it is blank
    assert predict(volume_bundle, *arguments).exit_code == 0
    assert files(out) == {"p.json", "p.nii.gz", "p.nrrd", "p.mha", "p.npz", "p.overlay.png"}
    write(tmp_path / "p_0000.nii.gz", np.zeros(SHAPE), spacing=(1.0, 1.0, 1.0))
    assert predict(volume_bundle, *arguments).exit_code == 3
    assert files(out) == {"p.json"}


@pytest.mark.parametrize("ood", [OodPolicy.SUPPRESS, OodPolicy.REJECT])
def test_a_withheld_mask_is_in_no_file(volume_bundle: Bundle, tmp_path: Path, ood: OodPolicy) -> None:
    policies = Policies(ood, EmptyPolicy.RAW, uncertainty=True)
    predictor = Predictor(volume_bundle, backend="cpu", threads=1, policies=policies, observe=True)
    strange = Distribution(verdict=Verdict.OUT_OF_DISTRIBUTION)
    predictor.judge = SimpleNamespace(judge=lambda *_: strange)  # type: ignore[assignment] # of every image
    further = FurtherFiles.of(["nrrd", "probabilities"], Options())
    out = tmp_path / "out"
    (result,) = Batch(predictor, out, further=further).run([Case("p", (image(tmp_path),))])
    assert result.refusal is None
    if ood is OodPolicy.REJECT:
        assert files(out) == {"p.json"}
    else:
        assert files(out) == {"p.json", "p.nii.gz", "p.nrrd"}
        assert not read_mask(out / "p.nii.gz").any()
        assert not read_mask(out / "p.nrrd").any()


def predict(bundle: Bundle, *arguments: object) -> Result:
    words = ["predict", bundle.root, *arguments, "--backend", "cpu", "--threads", 1]
    options = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(word) for word in words], env=options)


def test_the_command_line(volume_bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ("--ood", "reject", "--empty", "raw", "--uncertainty")
    result = predict(volume_bundle, image(tmp_path), "-o", out, *flags)
    assert result.exit_code == 0, result.output
    assert files(out) == {"p.json", "p.nii.gz", "p_raw.nii.gz", "p_uncertainty.nii.gz"}
    answer = json.loads((out / "p.json").read_text())
    assert (answer["policy"]["ood"], answer["policy"]["empty"]) == (OodPolicy.REJECT, EmptyPolicy.RAW)
    assert "policy.not_calibrated" in {warning["code"] for warning in answer["warnings"]}
    wrong = predict(volume_bundle, image(tmp_path), "-o", out, "--empty", "suppress")
    assert wrong.exit_code == 2
    assert "'return', 'flag', 'raw', 'reject'" in wrong.output
