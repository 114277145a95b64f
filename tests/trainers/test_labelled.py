"""Partial labels: the table is read strictly, and each batch is given its own rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from nnunet_losses import trainers
from nnunet_losses.trainers.labelled import LabelledError, channel_names, read_labelled
from tests.trainers import data

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.models import ModelFolderSpec

CHANNELS = ("background", "liver", "tumour")
CASES = ("case_1", "case_2")


def read(path: Path, content: object) -> Any:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_labelled(path, channels=CHANNELS, needed=CASES, known={*CASES, "case_3"})


def test_rows_follow_the_batch(tmp_path: Path) -> None:
    table = read(
        tmp_path / "labelled.json", {"case_1": ["tumour"], "case_2": [], "case_3": ["background", "liver"]}
    )
    assert table.of(["case_3", "case_1", "case_1", "case_2"]).tolist() == [
        [True, True, False], [True, False, True], [True, False, True], [True, False, False],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"case_1": ["liver"]}, "does not list 'case_2', which this fold trains or validates with.*add them"),
        ({}, "does not list 'case_1', 'case_2'"),
        ({"case_1": ["livr"], "case_2": []}, "names 'livr'.*you mean 'liver'.*background, liver, tumour"),
        ({"case_1": ["ignore"], "case_2": []}, "names 'ignore', which is no label"),
        ({"case_1": [], "case_2": [], "case_9": []}, "lists 'case_9', which the preprocessed data does not"),
        ({"case_1": [], "case_2": [], "case_1.png": []}, "you mean 'case_1'.*without channel and file"),
        ({"case_1": "liver", "case_2": []}, "case 'case_1' has 'liver'; expected a list of label names"),
        ({"case_1": [1], "case_2": []}, r"case 'case_1' has \[1\]; expected a list of label names"),
        ({"case_1": None, "case_2": []}, "case 'case_1' has None"),
        (["case_1"], r"holds \['case_1'\]; expected one JSON object"),
        ('{"case_1": ["liver"], "case_1": [], "case_2": []}', "'case_1' is listed twice"),
        ('{"case_1": ', "cannot be read .*expected one JSON object"),
        ("", "cannot be read"),
    ],
)  # fmt: skip
def test_wrong_tables_are_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "labelled.json"
    with pytest.raises(LabelledError, match=message) as caught:
        read(path, content)
    assert str(path) in str(caught.value)


def test_a_binary_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "labelled.json"
    with pytest.raises(LabelledError, match=r"labelled\.json is missing.*Write it, or choose a loss"):
        read_labelled(path, channels=CHANNELS, needed=CASES, known=CASES)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabelledError, match="cannot be read"):
        read_labelled(path, channels=CHANNELS, needed=CASES, known=CASES)


def test_channels_are_nnunets() -> None:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    labels = {"background": 0, "late": 3, "early": [1], "middle": 2, "ignore": 4}
    regions = {"background": 0, "whole": [1, 2], "nothing": [0], "core": 2, "ignore": 3}
    manager = LabelManager(regions, [1, 2])
    named = channel_names(regions, regions=True)
    assert named == ["whole", "core"]
    assert [regions[name] for name in named] == [
        list(manager.foreground_regions[0]),
        manager.foreground_regions[1],
    ]
    assert channel_names(labels, regions=False) == ["background", "early", "middle", "late"]
    assert LabelManager(labels, None).all_labels == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("trainer", "spec"),
    [
        ("nnUNetTrainerMarginalDice", data.IGNORE),
        ("nnUNetTrainerLeafDice", data.REGIONS_IGNORE),
        ("nnUNetTrainerLeafDice", data.FLAT),
    ],
)
def test_a_batch_gets_the_labels_of_its_cases(
    trainer: str, spec: ModelFolderSpec, trainer_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the order of the cases, in training and in validation, at every scale."""
    made = trainer_of(trainer, spec)
    made.on_train_start()
    given: list[torch.Tensor] = []
    for loss in made.catalogue_losses:
        original = loss.compute_labelled
        monkeypatch.setattr(
            loss, "compute_labelled", lambda i, flags, f=original: given.append(flags) or f(i, flags)
        )
    all_true, first_only = ([True] * 2, [True, False]) if spec.regions_class_order else (
        [True] * 3, [True, True, False],
    )  # fmt: skip
    for keys in (["a", "b"], ["b", "c"], ["b", "b"]):
        for step, loader in (
            (made.train_step, made.dataloader_train),
            (made.validation_step, made.dataloader_val),
        ):
            given.clear()
            step({**next(loader), "keys": keys})
            expected = [first_only if key == "b" else all_true for key in keys]
            assert [flags.tolist() for flags in given] == [expected] * len(made.catalogue_losses)


def test_unlabelled_classes_have_no_gradient(trainer_of: Callable[..., Any]) -> None:
    made = trainer_of("nnUNetTrainerLeafDice", data.REGIONS)
    made.initialize()
    logits = torch.randn(2, 2, 16, 16, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.rand(2, 2, 16, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.3
    made.catalogue_losses[0](logits, target, labelled=made.labelled.of(["a", "b"])).backward()
    assert logits.grad is not None
    assert [[bool(channel.any()) for channel in sample] for sample in logits.grad] == [
        [True, True],
        [True, False],
    ]


@pytest.fixture
def own_data(preprocessed: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data that a test may change; returns the path of its table."""
    root = tmp_path / "own"
    shutil.copytree(preprocessed(data.FLAT), root)
    data.set_environment(monkeypatch, root, tmp_path)
    return root / "Dataset999_Random" / "labelled.json"


@pytest.mark.parametrize("name", ["nnUNetTrainerMarginalDice", "nnUNetTrainerLeafDice"])
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "is missing"),
        ({"a": [], "b": [], "c": []}, "does not list 'd'"),  # which is validated with
        ({case: ["lesions"] for case in data.CASES}, "Did you mean 'lesion'"),
        ({case: [] for case in (*data.CASES, "e")}, "lists 'e'"),
    ],
)
def test_what_is_wrong_is_said_before_training(
    name: str, table: dict[str, list[str]] | None, message: str, own_data: Path
) -> None:
    own_data.unlink()
    if table is not None:
        own_data.write_text(json.dumps(table))
    trainer = data.make_trainer(getattr(trainers, name), data.FLAT)
    with pytest.raises(LabelledError, match=message):
        trainer.initialize()


def test_the_log_counts_what_is_labelled(trainer_of: Callable[..., Any]) -> None:
    trainer = trainer_of("nnUNetTrainerMarginalDice", data.FLAT)
    trainer.initialize()
    assert (
        "Labelled, of 4 cases: background in 4, organ in 4, lesion in 3."
        in Path(trainer.log_file).read_text()
    )


def test_complete_labels_need_no_table(own_data: Path) -> None:
    own_data.unlink()
    trainer = data.make_trainer(trainers.nnUNetTrainerDice, data.FLAT)
    trainer.initialize()
    assert trainer.labelled is None
