"""The command line: arguments, words and exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.export.commands import one_fold_an_option
from nnunet_losses.serve.bundle import Bundle
from tests.models import write_model_folder

from .conftest import BASE
from .test_damage import change_weight


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def two_folds(tmp_path):
    spec = BASE.but(patch_size=(16, 16), spacing=(1.0, 1.0), features=(2, 4), folds=(0, 1, 2))
    return write_model_folder(tmp_path / "model", spec)


def test_folds_takes_several_values(two_folds, tmp_path):
    result = run("export", two_folds, tmp_path / "bundle", "--folds", "0", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "bundle")
    assert [fold.name for fold in Bundle.load(tmp_path / "bundle").description.members[0].folds] == ["0", "1"]


@pytest.mark.parametrize(("given", "understood"), [
    ("--folds 0 1 M B", "--folds 0 --folds 1 M B"),
    ("--folds=0 M B", "--folds 0 M B"),
    ("M --folds 0,all B --folds 3", "M --folds 0 --folds all B --folds 3"),
    ("M B --folds", "M B --folds"),
    ("M B -- --folds 0 1", "M B -- --folds 0 1"),
])  # fmt: skip
def test_folds_anywhere(given, understood):
    assert one_fold_an_option(given.split()) == understood.split()


def test_refusal_has_reasons_and_no_traceback(tmp_path):
    spec = BASE.but(configuration_overrides={"preprocessor_name": "Mine"})
    model = write_model_folder(tmp_path / "model", spec)
    result = run("export", model, tmp_path / "bundle")
    assert result.exit_code == 1
    assert "Preprocessor Mine" in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["absent"], "is no folder"),
    (["model", "--folds", "7"], "no fold 7"),
    (["model", "--checkpoint", "checkpoint_best.pth"], "checkpoint_best.pth"),
    (["model", "--name", "a/b"], "letters, digits"),
])  # fmt: skip
def test_wrong_use_of_export(tmp_path, arguments, message):
    write_model_folder(tmp_path / "model", BASE)
    folder, *options = arguments
    result = run("export", tmp_path / folder, tmp_path / "bundle", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_verify_passes_and_stores_the_report(plain):
    result = run("verify", plain.bundle, plain.model, plain.images, "--backend", "cpu", "--folds", "0")
    assert result.exit_code == 0, result.output
    assert "Parity holds" in result.stdout
    assert json.loads((plain.bundle / "parity.json").read_text())["limits"]["dice"] == 0.9999
    assert Bundle.load(plain.bundle).description.parity.passed


def test_verify_fails_with_1(plain):
    change_weight(plain.bundle)
    result = run("verify", plain.bundle, plain.model, plain.images, "--backend", "cpu", "--no-write")
    assert result.exit_code == 1
    assert "Parity FAILED" in result.stdout
    assert Bundle.load(plain.bundle).description.parity is None


def test_verify_against_another_checkpoint_fails_with_1(plain):
    write_model_folder(plain.model, plain.spec.but(seed=4))
    result = run("verify", plain.bundle, plain.model, plain.images)
    assert result.exit_code == 1
    assert "another checkpoint" in result.stderr


def test_verify_of_a_damaged_bundle_fails_with_1(plain):
    (plain.bundle / "model.json").write_text((plain.bundle / "model.json").read_text() + " ")
    result = run("verify", plain.bundle, plain.model, plain.images)
    assert result.exit_code == 1
    assert "SHA256SUMS" in result.stderr


def test_wrong_use_of_verify(plain, tmp_path):
    (tmp_path / "empty").mkdir()
    attempts = {
        "holds no image": (plain.bundle, plain.model, tmp_path / "empty"),
        "is no folder": (plain.bundle, tmp_path / "absent", plain.images),
        "There is no file or folder": (tmp_path / "absent", plain.model, plain.images),
        "'abacus' is not one of": (plain.bundle, plain.model, plain.images, "--backend", "abacus"),
        "The bundle holds folds 0, not 1": (plain.bundle, plain.model, plain.images, "--folds", "1"),
    }
    for message, arguments in attempts.items():
        result = run("verify", *arguments)
        assert result.exit_code == 2, message
        assert message in result.stderr


def test_help_warns_of_untrusted_checkpoints():
    assert "only export checkpoints that you trust" in " ".join(run("export", "--help").stdout.split())
