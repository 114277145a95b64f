"""The model folder in the bundle's words."""

from __future__ import annotations

import json

import pytest

from nnunet_losses.export import description
from nnunet_losses.export.agreement import disagreements
from nnunet_losses.export.errors import ExportRefused, ModelFolderError
from nnunet_losses.export.members import MemberFolder
from nnunet_losses.export.model_card import model_card
from nnunet_losses.export.model_folder import read_model_folder
from nnunet_losses.export.training import joint_training, training
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.schema import KeepLargest, LabelResampling
from tests.models import write_model_folder

from .conftest import BASE


def model(folder, **changes):
    return read_model_folder(write_model_folder(folder, BASE.but(**changes)))


def test_regions_keep_the_order_of_the_labels(tmp_path):
    labels = {"core": 2, "background": 0, "whole": [1, 2], "ignore": 3}
    found = description.labels(model(tmp_path, labels=labels, regions_class_order=(5, 1)))
    assert [(label.name, label.channel, label.value, label.members) for label in found] == [
        ("core", 0, 5, (2,)),
        ("whole", 1, 1, (1, 2)),
    ]


def test_labels_are_ordered_by_value(tmp_path):
    found = description.labels(model(tmp_path, labels={"background": 0, "b": 2, "a": [1], "ignore": 3}))
    assert [(label.name, label.channel, label.value) for label in found] == [("a", 1, 1), ("b", 2, 2)]


def test_absent_resampling_arguments_take_the_functions_defaults(tmp_path):
    changes = {"resampling_fn_data_kwargs": {}, "resampling_fn_probabilities_kwargs": {"order": 1}}
    found = description.preprocessing(model(tmp_path, configuration_overrides=changes))
    assert (found.resampling_image.order, found.resampling_image.force_separate_z) == (3, False)
    assert (found.resampling_logits.order, found.resampling_logits.force_separate_z) == (1, False)


def test_statistics_are_stored_for_every_channel(tmp_path):
    found = description.preprocessing(model(tmp_path)).channels[0]
    assert (found.mean, found.std, found.percentile_00_5, found.percentile_99_5) == (80, 60, -150, 350)


def test_statistics_under_their_old_name(tmp_path):
    loaded = model(tmp_path)
    loaded.plans["foreground_intensity_properties_by_modality"] = loaded.plans.pop(
        "foreground_intensity_properties_per_channel"
    )
    assert description.preprocessing(loaded).channels[0].mean == 80


def test_channels_are_ordered_by_number(tmp_path):
    loaded = model(tmp_path)
    loaded.dataset["channel_names"] = {str(index): f"c{index}" for index in (10, 2, *range(2), *range(3, 10))}
    assert loaded.channel_names == tuple(f"c{index}" for index in range(11))


def test_fingerprint(tmp_path):
    loaded = model(tmp_path)
    loaded.fingerprint["spacings"] = [[1, 1, 1], [2, 1, 1], [5, 1, 1]]
    found = description.fingerprint(loaded)
    assert (found.spacing_min, found.spacing_median, found.spacing_max) == ((1, 1, 1), (2, 1, 1), (5, 1, 1))
    (tmp_path / "dataset_fingerprint.json").unlink()
    assert description.fingerprint(read_model_folder(tmp_path)) is None


@pytest.mark.parametrize(("trainer", "batch_dice", "loss", "phi", "smooth"), [
    ("nnUNetTrainer", True, "dice_ce", "BI", 1e-5),
    ("nnUNetTrainer", False, "dice_ce", "I", 1e-5),
    ("nnUNetTrainerDice_phiCI_smooth1em7_100epochs", True, "dice", "CI", 1e-7),
    ("nnUNetTrainerDiceBI", False, "dice_batch", "BI", 1e-7),
    ("nnUNetTrainerDiceTopK", True, "dice_topk", "BI", 1e-5),
    ("nnUNetTrainerCE", True, "ce", None, None),
    ("nnUNetTrainerDiceIEps", True, "dice_image_eps", "I", None),  # an epsilon for each class
    ("nnUNetTrainerCELoss", True, None, None, None),
])  # fmt: skip
def test_loss_is_told_by_the_trainer(tmp_path, trainer, batch_dice, loss, phi, smooth):
    found = training(model(tmp_path, trainer=trainer, configuration_overrides={"batch_dice": batch_dice}))
    assert (found.loss, found.phi, found.smooth) == (loss, phi, smooth)


def test_loss_parameters(tmp_path):
    found = training(model(tmp_path, trainer="nnUNetTrainerTversky_fp0p2_fn0p8"))
    assert (found.loss_parameters["fp"], found.loss_parameters["fn"]) == (0.2, 0.8)


def test_the_loss_of_the_first_epochs_belongs_to_the_training(tmp_path):
    found = training(model(tmp_path, trainer="nnUNetTrainerLovasz_warmup0p3"))
    assert (found.loss, found.loss_parameters["warmup"]) == ("lovasz", 0.3)


def test_validation_dice_is_the_mean_over_all_cases_of_all_folds(tmp_path):
    loaded = model(tmp_path, folds=(0, 1))
    for fold, values in ((0, [0.5, float("nan")]), (1, [0.7, 0.9])):
        cases = [{"metrics": {"1": {"Dice": value}}} for value in values]
        folder = tmp_path / f"fold_{fold}" / "validation"
        folder.mkdir()
        (folder / "summary.json").write_text(json.dumps({"metric_per_case": cases}))
    assert training(loaded).validation_dice == {"lesion": pytest.approx(0.7)}


def test_broken_validation_summary(tmp_path):
    loaded = model(tmp_path)
    (tmp_path / "fold_0" / "validation").mkdir()
    (tmp_path / "fold_0" / "validation" / "summary.json").write_text("[]")
    with pytest.raises(ModelFolderError, match="no summary"):
        training(loaded)


@pytest.mark.parametrize(("trainer", "network"), [
    ("nnUNetTrainerDiceTopK", "InstanceNorm3d"),
    ("nnUNetTrainerDiceTopK_BN", "BatchNorm3d"),
    ("nnUNetTrainerNoDeepSupervision", "InstanceNorm3d"),
])  # fmt: skip
def test_trainers_network(tmp_path, trainer, network):
    """The trainer decides on the network: ours are as the variant of nnU-Net that they build upon."""
    built = model(tmp_path, trainer=trainer)._architecture()
    names = {type(module).__name__ for module in built.modules()}
    assert names & {"BatchNorm3d", "InstanceNorm3d"} == {network}


def test_model_card_says_what_must_be_known(plain):
    card = model_card(Bundle.load(plain.bundle).description)
    facts = "lesion, organ", "ZScoreNormalization", "16 x 24 x 16", "dice_ce", "Phi = I, epsilon 1e-05"
    limits = "Not a medical device", "Not calibrated", "Licence: unknown", "Not measured yet"
    assert [text for text in (*facts, *limits) if text not in card] == []
    assert "None" not in card


def test_agreement_names_the_field(plain):
    bundle = Bundle.load(plain.bundle).description
    folders = [MemberFolder("3d_fullres", read_model_folder(plain.model))]
    assert disagreements(bundle, folders) == []
    (member,) = bundle.members
    changed = member.model_copy(update={"tiling": member.tiling.model_copy(update={"mirror_axes": (0,)})})
    assert disagreements(bundle.model_copy(update={"members": (changed,)}), folders) == [
        "model.json has tiling.mirror_axes [0]; the model folder gives [0, 1, 2]"
    ]


def test_card_of_an_ensemble_with_a_cascade(plain):
    content = Bundle.load(plain.bundle).description
    (low,) = content.members
    plan = low.preprocessing.model_copy(update={"resampling_labels": LabelResampling(order=1)})
    second = low.model_copy(
        update={"name": "3d_cascade_fullres", "previous_stage": low.name, "preprocessing": plan}
    )
    changes = {"members": (low, second), "postprocessing": (KeepLargest(values=(1, 2)),)}
    card = model_card(content.model_copy(update=changes))
    facts = (
        "An ensemble of 2 nnU-Nets", "of a cascade, after 3d_fullres", "largest mean probability",
        "only the largest component of these mask values, taken together: of 1, 2.",
    )  # fmt: skip
    assert [text for text in facts if text not in card] == []


def test_training_of_an_ensemble_says_what_its_members_share(tmp_path):
    one = model(tmp_path / "one")
    flat = model(tmp_path / "two", patch_size=(24, 32), spacing=(1.0, 1.0), trainer="nnUNetTrainerDiceTopK")
    joint = joint_training([one, flat])
    assert joint.trainer == "nnUNetTrainer, nnUNetTrainerDiceTopK"
    assert (joint.epochs, joint.dataset, joint.loss, joint.phi) == (1, "Dataset999_Random", None, None)
    assert joint_training([one]) == training(one)


def test_network_of_a_cascade_takes_the_labels(tmp_path):
    assert model(tmp_path, name="3d_cascade_fullres", previous_stage="3d_lowres").input_channels == 3


def test_network_that_cannot_be_built_is_named(tmp_path):
    folder = model(tmp_path)
    folder.configuration.configuration["architecture"]["network_class_name"] = "elsewhere.MyNetwork"
    with pytest.raises(ExportRefused, match=r"Network elsewhere.MyNetwork, built by nnUNetTrainer"):
        folder.network(folder.first)
