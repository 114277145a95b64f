"""What cannot be carried over is refused by name, all reasons at once."""

from __future__ import annotations

import json

import pytest
import torch

from nnunet_losses.export.bundle_writer import export_bundle
from nnunet_losses.export.errors import ExportRefused
from nnunet_losses.export.model_folder import read_model_folder
from nnunet_losses.export.refusals import plans_remark, refuse_unfaithful
from tests.models import write_model_folder

from .conftest import BASE

TWO = BASE.but(folds=(0, 1))


def reasons(folder) -> str:
    with pytest.raises(ExportRefused) as refused:
        refuse_unfaithful(read_model_folder(folder))
    return str(refused.value)


REFUSED = {
    "Preprocessor MyPreprocessor": {"preprocessor_name": "MyPreprocessor"},
    "resampling_fn_data resample_torch_fornnunet": {"resampling_fn_data": "resample_torch_fornnunet"},
    "resampling_fn_probabilities no_resampling_hack": {"resampling_fn_probabilities": "no_resampling_hack"},
    "'order': 2": {"resampling_fn_data_kwargs": {"is_seg": False, "order": 2}},
    "'separate_z_anisotropy_threshold': 5": {
        "resampling_fn_probabilities_kwargs": {
            "is_seg": False,
            "order": 1,
            "separate_z_anisotropy_threshold": 5,
        }
    },
    "'is_seg': True": {"resampling_fn_probabilities_kwargs": {"is_seg": True, "order": 1}},
    "Normalisation MyNormalization": {"normalization_schemes": ["MyNormalization"]},
    "1 channels, but 2 normalization_schemes": {"normalization_schemes": ["ZScoreNormalization"] * 2},
    "cascade's second stage, but lacks resampling_fn_seg_kwargs": {
        "previous_stage": "3d_lowres",
        "resampling_fn_seg_kwargs": None,
    },
    "both must have 2 or 3 entries": {"spacing": [1.0, 1.0]},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_configuration(tmp_path, reason):
    assert reason in reasons(write_model_folder(tmp_path, BASE.but(configuration_overrides=REFUSED[reason])))


def test_reader(tmp_path):
    assert "Reader BloscIO" in reasons(write_model_folder(tmp_path, BASE.but(reader="BloscIO")))


@pytest.mark.parametrize(("reader", "ending"), [("SimpleITKIO", ".png"), ("NaturalImage2DIO", ".jpg")])
def test_file_ending(tmp_path, reader, ending):
    folder = write_model_folder(tmp_path, BASE.but(reader=reader, file_ending=ending))
    assert f"File ending {ending} with {reader}" in reasons(folder)


def test_label_manager(tmp_path, monkeypatch):
    from nnunetv2.utilities.label_handling import label_handling

    class OtherManager(label_handling.LabelManager):
        """Found by nnU-Net's search, as it would be in its folder."""

    monkeypatch.setattr(label_handling, "OtherManager", OtherManager, raising=False)
    folder = write_model_folder(tmp_path, BASE.but(plans_overrides={"label_manager": "OtherManager"}))
    assert "Label manager OtherManager" in reasons(folder)


def test_inference_nonlinearity(tmp_path):
    model = read_model_folder(write_model_folder(tmp_path, BASE))
    model.labels.inference_nonlin = torch.tanh
    with pytest.raises(ExportRefused, match="Inference nonlinearity"):
        refuse_unfaithful(model)


@pytest.mark.parametrize(("labels", "order", "reason"), [
    ({"background": 0, "a": 1, "b": 3}, None, "not consecutive"),
    ({"background": 0, "a": 1, "b": 1}, None, "share one label value"),
    ({"background": 0}, None, "no label besides the background"),
    ({"background": 0, "a": [1, 2], "b": 2}, (1, 0), "paints a region with 0"),
    ({"background": 0, "a": [1, 2], "b": 2}, (1, 300), "value above 255"),
    ({"background": 0, "a": [1, 2], "b": 2}, None, "cannot interpret"),
    ({"a": 1}, None, "cannot interpret"),
])  # fmt: skip
def test_labels(tmp_path, labels, order, reason):
    folder = write_model_folder(tmp_path, BASE)
    dataset = json.loads((folder / "dataset.json").read_text()) | {"labels": labels}
    dataset |= {} if order is None else {"regions_class_order": order}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    assert reason in reasons(folder)


def test_mirror_axes_outside_the_patch(tmp_path):
    spec = BASE.but(patch_size=(16, 16), spacing=(1.0, 1.0), mirror_axes=(0, 2))
    assert "Mirror axes [0, 2]" in reasons(write_model_folder(tmp_path, spec))


def test_transposition_that_is_not_undone(tmp_path):
    spec = BASE.but(plans_overrides={"transpose_backward": [1, 0, 2]})
    assert "does not undo" in reasons(write_model_folder(tmp_path, spec))


def test_ct_without_statistics(tmp_path):
    spec = BASE.but(
        normalization=("CTNormalization",),
        plans_overrides={"foreground_intensity_properties_per_channel": {}},
    )
    assert "Channel 0 has CTNormalization" in reasons(write_model_folder(tmp_path, spec))


@pytest.mark.parametrize(("changes", "reason"), [
    ({"mirror_axes": (0,)}, "other mirror axes"),
    ({"trainer": "nnUNetTrainerDice"}, "other trainer"),
    ({"configuration_overrides": {"normalization_schemes": ["NoNormalization"]}}, "other plans"),
    ({"labels": {"background": 0, "a": 1, "b": 2}}, "other labels and channels"),
])  # fmt: skip
def test_folds_of_different_trainings(tmp_path, changes, reason):
    write_model_folder(tmp_path, TWO.but(folds=(1,), **changes))
    write_model_folder(tmp_path, TWO.but(folds=(0,)))
    assert f"Fold 1 has {reason} than fold 0" in reasons(tmp_path)


def test_folds_may_differ_in_what_does_not_matter(tmp_path):
    write_model_folder(tmp_path, TWO.but(folds=(1,), configuration_overrides={"batch_size": 99}))
    write_model_folder(tmp_path, TWO.but(folds=(0,)))
    refuse_unfaithful(read_model_folder(tmp_path))


def test_all_reasons_are_named(tmp_path):
    spec = BASE.but(
        reader="Tiff3DIO",
        configuration_overrides={
            "preprocessor_name": "Mine",
            "previous_stage": "3d_lowres",
            "resampling_fn_seg": "hers",
        },
    )
    text = reasons(write_model_folder(tmp_path, spec))
    assert all(name in text for name in ("Tiff3DIO", "Mine", "hers"))


def test_changed_plans_are_remarked(tmp_path):
    write_model_folder(tmp_path, BASE)
    assert plans_remark(read_model_folder(tmp_path)) is None
    plans = json.loads((tmp_path / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["spacing"] = [2.0, 2.0, 2.0]
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    assert "spacing of plans.json" in plans_remark(read_model_folder(tmp_path))


def test_inherited_configuration_is_resolved(tmp_path):
    write_model_folder(tmp_path, BASE)
    plans = json.loads((tmp_path / "plans.json").read_text())
    plans["configurations"]["base"] = plans["configurations"].pop("3d_fullres")
    plans["configurations"]["3d_fullres"] = {"inherits_from": "base", "batch_size": 7}
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    model = read_model_folder(tmp_path)
    refuse_unfaithful(model)
    assert plans_remark(model) is None


def test_refused_export_leaves_nothing(tmp_path):
    folder = write_model_folder(tmp_path / "model", BASE.but(reader="Tiff3DIO"))
    with pytest.raises(ExportRefused):
        export_bundle(folder, tmp_path / "out" / "bundle")
    assert list((tmp_path / "out").iterdir()) == []


def test_unknown_trainer(tmp_path):
    from nnunet_losses.export.errors import ExportError

    folder = write_model_folder(tmp_path / "model", BASE.but(trainer="nnUNetTrainerFromElsewhere"))
    with pytest.raises(ExportError, match=r"nnUNetTrainerFromElsewhere.*(nnUNet_extTrainer|doctor)"):
        export_bundle(folder, tmp_path / "bundle")
