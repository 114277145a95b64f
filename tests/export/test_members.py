"""Ensembles, cascades and postprocessing predict what nnU-Net's commands for them predict."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.export.bundle_writer import export_bundle
from nnunet_losses.export.errors import CheckpointMismatch, ExportError, ExportRefused
from nnunet_losses.export.members import gather_members, refuse_disagreement
from nnunet_losses.export.verify import verify_bundle
from nnunet_losses.serve.bundle import Bundle, file_sha256, write_sums
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.self_test import run_self_test
from tests.models import write_model_folder

from .conftest import BASE, write_images

if TYPE_CHECKING:
    from pathlib import Path

FUNCTION = "remove_all_but_largest_component_from_segmentation"
FLAT = BASE.but(patch_size=(24, 32), spacing=(0.9, 1.2), folds=(0, 1), seed=5)
LOW = BASE.but(name="3d_lowres", spacing=(1.8, 1.5, 1.6), patch_size=(12, 16, 12), seed=7)
CASCADE = BASE.but(name="3d_cascade_fullres", previous_stage="3d_lowres", seed=9)
REGIONS = {"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "tip": 3},
           "regions_class_order": (1, 2, 3)}  # fmt: skip


@dataclass(frozen=True)
class Team:
    """Models that work together, their bundle, and images."""

    folders: dict[str, Path]  # by configuration
    given: list[Path]  # to the export
    bundle: Path
    images: Path
    postprocessing: Path | None

    def verify(self, bundle: Path, **options):
        options = {"backend": "cpu", "postprocessing": self.postprocessing} | options
        return verify_bundle(bundle, self.given, [self.images], **options)


def write_postprocessing(path, *steps):
    """postprocessing.pkl as nnUNetv2_determine_postprocessing writes it, NumPy's numbers included."""
    from nnunetv2.postprocessing.remove_connected_components import (
        remove_all_but_largest_component_from_segmentation as function,
    )

    path.write_bytes(pickle.dumps(([function] * len(steps), [{"labels_or_regions": step} for step in steps])))
    return path


def make_team(root, specs, given, *, steps=(), shape=(16, 22, 20)):
    folders = {
        spec.configuration: write_model_folder(
            root / "results" / f"nnUNetTrainer__nnUNetPlans__{spec.configuration}", spec
        )
        for spec in specs
    }
    postprocessing = write_postprocessing(root / "postprocessing.pkl", *steps) if steps else None
    chosen = [folders[name] for name in given]
    bundle = export_bundle(chosen, root / "bundle", postprocessing=postprocessing)
    images = write_images(root / "images", specs[0], shape=shape)
    return Team(folders, chosen, bundle, images, postprocessing)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """2D with two folds and 3D with other axes, postprocessed: all foreground, then one label."""
    turned = BASE.but(transpose_forward=(2, 0, 1), spacing=(1.2, 1.0, 0.9), mirror_axes=(0,))
    steps = ([np.int64(1), np.int64(2)], 2)
    root = tmp_path_factory.mktemp("ensemble")
    return make_team(root, [FLAT, turned], ["2d", "3d_fullres"], steps=steps)


@pytest.fixture(scope="module")
def cascade(tmp_path_factory):
    """The first stage is found where nnU-Net puts it; labelled voxels count for the masked normalisation."""
    root = tmp_path_factory.mktemp("cascade")
    return make_team(root, [CASCADE.but(use_mask=(True,)), LOW], ["3d_cascade_fullres"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """An ensemble of a cascade and its own first stage, of regions, with a postprocessed region."""
    specs = [LOW.but(**REGIONS, mirror_axes=()), CASCADE.but(**REGIONS, mirror_axes=(1,))]
    root = tmp_path_factory.mktemp("mixed")
    return make_team(root, specs, ["3d_lowres", "3d_cascade_fullres"], steps=((2, 3),))


TEAMS = ("ensemble", "cascade", "mixed")


@pytest.fixture
def team(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("team", TEAMS, indirect=True)
def test_bundle_predicts_what_nnunets_commands_predict(team, tmp_path):
    bundle = shutil.copytree(team.bundle, tmp_path / "bundle")
    verification = team.verify(bundle)
    parity = verification.parity
    assert parity.passed, parity.failures
    assert parity.max_tile_difference <= 1e-5
    assert parity.differing_voxels_beyond_margin == 0
    stored = Bundle.load(bundle).description
    assert stored.parity == parity
    folds = sum(len(member.folds) for member in stored.members)
    assert len(verification.cases[0].tile_differences) == folds
    for label in parity.dice:
        assert sum(case.overlaps[label].reference for case in verification.cases) > 20, label
    assert run_self_test(Predictor(Bundle.load(bundle))).differing_beyond_margin == 0


@pytest.mark.parametrize("team", TEAMS, indirect=True)
def test_openvino_predicts_it_too(team):
    parity = team.verify(team.bundle, backend="openvino", write=False).parity
    assert parity.passed, parity.failures
    assert parity.max_tile_difference <= 1e-4


def test_roles(ensemble, cascade, mixed):
    def roles(team):
        members = Bundle.load(team.bundle).description.members
        return [(member.name, member.previous_stage, member.averaged) for member in members]

    assert roles(ensemble) == [("2d", None, True), ("3d_fullres", None, True)]
    assert roles(cascade) == [("3d_cascade_fullres", "3d_lowres", True), ("3d_lowres", None, False)]
    assert roles(mixed) == [("3d_lowres", None, True), ("3d_cascade_fullres", "3d_lowres", True)]


def test_answer_says_what_postprocessing_removed(ensemble):
    files = sorted(ensemble.images.glob("case0_*"))
    predictor = Predictor(Bundle.load(ensemble.bundle), backend="cpu")
    answer = predictor.predict(Case("case0", tuple(files))).answer
    assert answer.policy.applied == ("remove_all_but_largest_component",) * 2
    removed = answer.policy.removed_components
    assert removed[0]["values"] == (1, 2)
    assert {row["reason"] for row in removed} == {"NOT_THE_LARGEST_COMPONENT"}
    assert all(row["voxels"] >= 1 and row["label"] and len(row["place_mm"]) == 3 for row in removed)
    assert answer.manifest.timings["postprocess"] >= 0


def damage(bundle, target, change):
    shutil.copytree(bundle, target)
    content = json.loads((target / "model.json").read_text())
    change(content)
    (target / "model.json").write_text(json.dumps(content))
    write_sums(target)
    return target


def _drop_mirroring(content):
    content["members"][1]["tiling"]["mirror_axes"] = []


def _drop_step(content):
    content["postprocessing"] = content["postprocessing"][:1]


def _change_step(content):
    content["postprocessing"][0]["values"] = [2]


def _change_label_resampling(content):
    content["members"][0]["preprocessing"]["resampling_labels"]["order"] = 0


DAMAGES = {
    "a mirror axis of the second member": ("ensemble", _drop_mirroring),
    "a postprocessing step": ("ensemble", _drop_step),
    "postprocessed values": ("ensemble", _change_step),
    "label resampling": ("cascade", _change_label_resampling),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_one_changed_field_fails(name, request, tmp_path):
    team, change = request.getfixturevalue(DAMAGES[name][0]), DAMAGES[name][1]
    parity = team.verify(damage(team.bundle, tmp_path / "bundle", change)).parity
    assert not parity.passed
    assert any("model.json has" in failure for failure in parity.failures)
    assert len(parity.failures) > 1, parity.failures


def test_one_changed_weight_of_a_first_stage_fails(cascade, tmp_path):
    import onnx
    from onnx import numpy_helper

    bundle = shutil.copytree(cascade.bundle, tmp_path / "bundle")
    path = bundle / "members" / "3d_lowres" / "fold_0.onnx"
    graph = onnx.load(path)
    kernel = next(tensor for tensor in graph.graph.initializer if len(tensor.dims) == 5)
    values = numpy_helper.to_array(kernel).copy()
    values.flat[0] += np.abs(values).max()
    kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
    onnx.save(graph, path)
    content = json.loads((bundle / "model.json").read_text())
    content["members"][1]["folds"][0]["sha256"] = file_sha256(path)
    (bundle / "model.json").write_text(json.dumps(content))
    write_sums(bundle)
    parity = cascade.verify(bundle).parity
    assert any("3d_lowres, tile logits of fold 0" in failure for failure in parity.failures)


def test_models_are_matched_in_any_order(ensemble):
    parity = verify_bundle(
        ensemble.bundle, ensemble.given[::-1], sorted(ensemble.images.glob("case0_*")), backend="cpu",
        postprocessing=ensemble.postprocessing, write=False,
    ).parity  # fmt: skip
    assert parity.passed, parity.failures


def test_verification_needs_all_it_was_exported_from(ensemble, cascade, tmp_path):
    with pytest.raises(ExportError, match=r"2 model folder\(s\) \(2d, 3d_fullres\); 1 are given"):
        verify_bundle(ensemble.bundle, ensemble.given[0], [ensemble.images])
    with pytest.raises(ExportError, match="--postprocessing"):
        ensemble.verify(ensemble.bundle, postprocessing=None)
    alone = shutil.copytree(cascade.given[0], tmp_path / "alone")
    with pytest.raises(ExportError, match="previous stage 3d_lowres is not there"):
        verify_bundle(cascade.bundle, alone, [cascade.images])
    other = write_model_folder(tmp_path / "other", LOW.but(seed=99))
    with pytest.raises(CheckpointMismatch):
        verify_bundle(cascade.bundle, alone, [cascade.images], previous_stage=other)


def test_two_members_of_one_name_get_their_folders_names(tmp_path):
    one = write_model_folder(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres", BASE)
    two = write_model_folder(tmp_path / "nnUNetTrainer__nnUNetResEncUNetMPlans__3d_fullres", BASE)
    three = write_model_folder(tmp_path / "elsewhere" / two.name, BASE)
    flat = write_model_folder(tmp_path / "flat", FLAT)
    names = [member.name for member in gather_members([one, two, three, flat])]
    assert names == [one.name, f"{two.name}_1", f"{two.name}_2", "2d"]


def test_previous_stage_is_looked_for(tmp_path, monkeypatch):
    folder = write_model_folder(tmp_path / "here" / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres", CASCADE)
    with pytest.raises(
        ExportRefused, match=r"after 3d_lowres, whose model folder is not there.*--previous-stage"
    ):
        gather_members([folder])
    results = tmp_path / "nnUNet_results"
    low = write_model_folder(results / "Dataset999_Random" / "nnUNetTrainer__nnUNetPlans__3d_lowres", LOW)
    monkeypatch.setenv("nnUNet_results", str(results))
    assert gather_members([folder])[1].model.path == low
    given = shutil.copytree(low, tmp_path / "given")
    assert gather_members([folder], previous_stage=given)[1].model.path == given


def test_wrong_company_is_refused(tmp_path):
    full = write_model_folder(tmp_path / "full", BASE)
    low = write_model_folder(tmp_path / "low", LOW)
    cascade = write_model_folder(tmp_path / "cascade", CASCADE)
    with pytest.raises(ExportError, match="is named twice"):
        gather_members([full, full])
    with pytest.raises(ExportError, match="no model is a cascade"):
        gather_members([full], previous_stage=low)
    with pytest.raises(ExportError, match="previous stage of 3d_cascade_fullres is 3d_lowres"):
        gather_members([cascade], previous_stage=full)
    with pytest.raises(ExportError, match="No model folder"):
        gather_members([])


@pytest.mark.parametrize(("changes", "reason"), [
    ({"channels": ("T1",)}, "the channels ['T1']"),
    ({"labels": {"background": 0, "lesion": 1}}, "the labels"),
    ({"reader": "NibabelIO"}, "the reader NibabelIO"),
    ({"file_ending": ".nrrd"}, "the file ending .nrrd"),
])  # fmt: skip
def test_members_must_agree(tmp_path, changes, reason):
    folders = [
        write_model_folder(tmp_path / "one", BASE), write_model_folder(tmp_path / "two", FLAT.but(**changes))
    ]  # fmt: skip
    with pytest.raises(ExportRefused) as refused:
        refuse_disagreement(gather_members(folders))
    assert f"2d has {reason}" in str(refused.value)
    with pytest.raises(ExportRefused):
        export_bundle(folders, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(("changes", "reason"), [
    ({"resampling_fn_seg": "resample_torch_fornnunet"}, "resampling_fn_seg resample_torch_fornnunet"),
    ({"resampling_fn_seg_kwargs": {"is_seg": True, "order": 3}}, "'order': 3"),
    ({"resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 1}}, "'order_z': 1"),
    ({"resampling_fn_seg_kwargs": {"order": 1}}, "'is_seg': False"),
])  # fmt: skip
def test_label_resampling_is_refused_by_name(tmp_path, changes, reason):
    write_model_folder(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_lowres", LOW)
    folder = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres"
    write_model_folder(folder, CASCADE.but(configuration_overrides=changes))
    with pytest.raises(ExportRefused) as refused:
        gather_members([folder])
    assert reason in str(refused.value)
    assert folder.name in str(refused.value)


def test_old_rule_of_label_resampling_is_refused(tmp_path, monkeypatch):
    from batchgenerators.augmentations import utils

    monkeypatch.setattr(utils, "resize_segmentation", lambda segmentation, new_shape, order=3: segmentation)
    write_model_folder(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_lowres", LOW)
    folder = write_model_folder(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_cascade_fullres", CASCADE)
    with pytest.raises(ExportRefused, match="Update batchgenerators"):
        gather_members([folder])
