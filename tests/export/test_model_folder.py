"""Reading model folders: what is taken, and what is said when something is missing."""

from __future__ import annotations

import json

import pytest
import torch

from nnunet_losses.export.errors import ModelFolderError
from nnunet_losses.export.model_folder import read_model_folder
from tests.models import random_network, write_model_folder

from .conftest import BASE


def folds(model):
    return [checkpoint.fold for checkpoint in model.checkpoints]


def test_takes_all_numbered_folds_in_order(tmp_path):
    write_model_folder(tmp_path, BASE.but(folds=(10, 2, "all")))
    assert folds(read_model_folder(tmp_path)) == ["2", "10"]
    assert folds(read_model_folder(tmp_path, folds=["all", 2])) == ["all", "2"]


def test_takes_fold_all_where_it_is_alone(tmp_path):
    assert folds(read_model_folder(write_model_folder(tmp_path, BASE.but(folds=("all",))))) == ["all"]


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_network_has_the_checkpoints_weights(tmp_path, prefix):
    model = read_model_folder(write_model_folder(tmp_path, BASE.but(prefix=prefix, seed=3)))
    tile = torch.randn((1, 1, *BASE.patch_size), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = random_network(BASE, seed=3).eval()(tile)
        assert torch.equal(model.network(model.first)(tile), expected)


def test_old_plans_are_converted(tmp_path):
    write_model_folder(tmp_path, BASE)
    plans = json.loads((tmp_path / "plans.json").read_text())
    configuration = plans["configurations"]["3d_fullres"]
    arguments = configuration.pop("architecture")["arch_kwargs"]
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 8,
        "n_conv_per_stage_encoder": arguments["n_conv_per_stage"],
        "n_conv_per_stage_decoder": arguments["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [1, 1, 1],
        "pool_op_kernel_sizes": arguments["strides"],
        "conv_kernel_sizes": arguments["kernel_sizes"],
    }
    (tmp_path / "plans.json").write_text(json.dumps(plans))
    model = read_model_folder(tmp_path)
    assert sum(p.numel() for p in model.network(model.first).parameters()) > 0


def test_missing_folder(tmp_path):
    with pytest.raises(ModelFolderError, match="is no folder"):
        read_model_folder(tmp_path / "absent")


def test_fold_folder_names_its_parent(tmp_path):
    write_model_folder(tmp_path / "model", BASE)
    with pytest.raises(ModelFolderError, match=r"Pass its parent .*model and --folds 0"):
        read_model_folder(tmp_path / "model" / "fold_0")


def test_folder_of_models_names_them(tmp_path):
    write_model_folder(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres", BASE)
    with pytest.raises(ModelFolderError, match="pass one of nnUNetTrainer__nnUNetPlans__3d_fullres"):
        read_model_folder(tmp_path)


def test_missing_fold_names_those_present(tmp_path):
    write_model_folder(tmp_path, BASE.but(folds=(0, 2)))
    with pytest.raises(ModelFolderError, match=r"no fold 1 .* have it: 0 2"):
        read_model_folder(tmp_path, folds=[0, 1])


def test_missing_checkpoint_names_those_present(tmp_path):
    write_model_folder(tmp_path, BASE)
    with pytest.raises(ModelFolderError, match=r"Present are checkpoint_final\.pth"):
        read_model_folder(tmp_path, checkpoint="checkpoint_best.pth")


def test_repeated_fold(tmp_path):
    with pytest.raises(ModelFolderError, match="named twice"):
        read_model_folder(write_model_folder(tmp_path, BASE), folds=[0, 0])


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_unreadable_checkpoint(tmp_path, content):
    write_model_folder(tmp_path, BASE)
    path = tmp_path / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:-500] if content is None else content)
    with pytest.raises(ModelFolderError, match="cannot be read"):
        read_model_folder(tmp_path)


@pytest.mark.parametrize(
    "content", [[1], {"weights": 1}, {"network_weights": {}, "init_args": {}, "trainer_name": ""}]
)
def test_foreign_checkpoint(tmp_path, content):
    write_model_folder(tmp_path, BASE)
    torch.save(content, tmp_path / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(ModelFolderError, match="nnU-Net v2 checkpoint"):
        read_model_folder(tmp_path)


def test_weights_of_another_network(tmp_path):
    write_model_folder(tmp_path, BASE)
    (tmp_path / "plans.json").write_text(
        (write_model_folder(tmp_path / "other", BASE.but(features=(4, 6))) / "plans.json").read_text()
    )
    model = read_model_folder(tmp_path)
    with pytest.raises(ModelFolderError, match="do not fit the network"):
        model.network(model.first)


def test_broken_json(tmp_path):
    write_model_folder(tmp_path, BASE)
    (tmp_path / "plans.json").write_text("{")
    with pytest.raises(ModelFolderError, match="cannot be read as JSON"):
        read_model_folder(tmp_path)
