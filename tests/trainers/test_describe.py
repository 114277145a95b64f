"""The command describe."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from nnunet_losses import get_loss_spec, list_losses
from nnunet_losses.cli import app
from nnunet_losses.notes import notes_of
from nnunet_losses.trainers.describe import find


def described(name: str) -> str:
    result = CliRunner().invoke(app, ["describe", name], env={"COLUMNS": "400"})
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("key", list_losses())
def test_everything_is_said(key: str) -> None:
    text, spec, notes = described(key), get_loss_spec(key), notes_of(key)
    assert f"nnUNetTrainer{spec.trainer}" in text
    assert notes.plain in text
    assert spec.url in text
    assert all(sentence in text for sentence in (*notes.when, *notes.unless, *notes.know))
    assert all(f"{field.name} = {field.default}" in text for field in spec.trainer_fields)
    assert "batch without a lesion: " in text


def test_what_it_does_on_empty_labels() -> None:
    text = described("dice")
    assert "empty sample beside one with a lesion: ignores" in text
    assert "Trainers take phi=BI" in text
    assert "Trainers take phi=BI" not in described("ce")


def test_schedules_say_where_they_stand() -> None:
    assert "Schedules stand at epoch 500 of 1000" in described("dice_boundary")
    assert "Schedules stand" not in described("dice")


@pytest.mark.parametrize("name", ["tversky", "Tversky", "nnUNetTrainerTversky_fp0p2_fn0p8_250epochs"])
def test_trainers_are_found_too(name: str) -> None:
    assert find(name).key == "tversky"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dise", "Did you mean 'dice'"),
        ("nnUNetTrainerDiceTopC", "nnUNetTrainerDiceTopK"),
        ("", "there is no loss"),
    ],
)
def test_wrong_names_get_a_hint(name: str, hint: str) -> None:
    result = CliRunner().invoke(app, ["describe", name])
    assert result.exit_code == 2
    assert hint in result.output
    assert "Traceback" not in result.output
