"""Wishes on the whole road: from a bundle to the files, and on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.serve.answer import Outcome
from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats import Case, read_mask
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
