"""Small nnU-Net model folders with random weights: what a training run leaves, without the training.

The last layer is scaled up: the two best logits are well apart in most voxels, as in a trained network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_STATISTICS = {"max": 400.0, "mean": 80.0, "median": 75.0, "min": -200.0, "percentile_00_5": -150.0,
               "percentile_99_5": 350.0, "std": 60.0}  # fmt: skip


@dataclass(frozen=True)
class ModelFolderSpec:
    """Everything that makes one model folder differ from another."""

    patch_size: tuple[int, ...] = (16, 24, 16)
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0)
    channels: tuple[str, ...] = ("MRI",)
    normalization: tuple[str, ...] = ("ZScoreNormalization",)
    use_mask: tuple[bool, ...] = (False,)
    labels: dict[str, Any] = field(default_factory=lambda: {"background": 0, "lesion": 1, "organ": 2})
    regions_class_order: tuple[int, ...] | None = None
    transpose_forward: tuple[int, int, int] = (0, 1, 2)
    reader: str = "SimpleITKIO"
    file_ending: str = ".nii.gz"
    architecture: str = "PlainConvUNet"
    features: tuple[int, ...] = (4, 8, 16)
    blocks: tuple[int, ...] | None = None  # convolutions or residual blocks per stage; None: 1 everywhere
    kernel_sizes: tuple[tuple[int, ...], ...] | None = None  # per stage; None: 3 everywhere
    strides: tuple[tuple[int, ...], ...] | None = None  # per stage; None: 1, then 2 everywhere
    mirror_axes: tuple[int, ...] | None = None  # None: all spatial axes
    folds: tuple[int | str, ...] = (0,)
    trainer: str = "nnUNetTrainer"
    seed: int = 0
    deep_supervision: bool = False  # whether the saved network still had it
    prefix: str = ""  # of parameter names, as DDP ("module.") and torch.compile ("_orig_mod.") leave them
    plans_overrides: dict[str, Any] = field(default_factory=dict)  # merged into plans.json
    configuration_overrides: dict[str, Any] = field(default_factory=dict)  # merged into the configuration
    name: str | None = None  # of the configuration; None: 2d or 3d_fullres
    previous_stage: str | None = None  # of a cascade
    old_format: bool = False  # plans and dataset.json as nnU-Net wrote them before 2.2

    @property
    def dimension(self) -> int:
        return len(self.patch_size)

    @property
    def configuration(self) -> str:
        return self.name or ("2d" if self.dimension == 2 else "3d_fullres")

    @property
    def input_channels(self) -> int:
        """Channels of the network: of the image, and one for each foreground label in a cascade."""
        return len(self.channels) + (
            0 if self.previous_stage is None else len(_label_manager(self).foreground_labels)
        )

    def but(self, **changes: Any) -> ModelFolderSpec:
        return replace(self, **changes)


def _label_manager(spec: ModelFolderSpec) -> Any:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    regions = None if spec.regions_class_order is None else list(spec.regions_class_order)
    return LabelManager(spec.labels, regions)


def _old_architecture(spec: ModelFolderSpec) -> dict[str, Any]:
    """What stood in a configuration in place of ``architecture``."""
    content = _architecture(spec)["arch_kwargs"]
    convolutions = "n_conv_per_stage" if spec.architecture == "PlainConvUNet" else "n_blocks_per_stage"
    return {
        "UNet_class_name": spec.architecture,
        "UNet_base_num_features": spec.features[0],
        "unet_max_num_features": spec.features[-1],
        "n_conv_per_stage_encoder": content[convolutions],
        "n_conv_per_stage_decoder": content["n_conv_per_stage_decoder"],
        "num_pool_per_axis": [len(spec.features) - 1] * spec.dimension,
        "pool_op_kernel_sizes": content["strides"],
        "conv_kernel_sizes": content["kernel_sizes"],
    }


def _architecture(spec: ModelFolderSpec) -> dict[str, Any]:
    n, dim = len(spec.features), spec.dimension
    blocks = (
        {"n_conv_per_stage": list(spec.blocks or [1] * n)}
        if spec.architecture == "PlainConvUNet"
        else {"n_blocks_per_stage": list(spec.blocks or [1] * n)}
    )
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{spec.architecture}",
        "arch_kwargs": {
            "n_stages": n,
            "features_per_stage": list(spec.features),
            "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
            "kernel_sizes": [list(size) for size in spec.kernel_sizes or [[3] * dim] * n],
            "strides": [list(step) for step in spec.strides or [[1] * dim] + [[2] * dim] * (n - 1)],
            **blocks,
            "n_conv_per_stage_decoder": [1] * (n - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _resampling(order: int, *, is_seg: bool) -> dict[str, Any]:
    return {"is_seg": is_seg, "order": order, "order_z": 0, "force_separate_z": None}


def plans(spec: ModelFolderSpec) -> dict[str, Any]:
    """plans.json of the model."""
    configuration = {
        "data_identifier": f"nnUNetPlans_{spec.configuration}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(spec.patch_size),
        "median_image_size_in_voxels": [float(size) for size in spec.patch_size],
        "spacing": list(spec.spacing),
        "normalization_schemes": list(spec.normalization),
        "use_mask_for_norm": list(spec.use_mask),
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": _resampling(3, is_seg=False),
        "resampling_fn_seg_kwargs": _resampling(1, is_seg=True),
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": _resampling(1, is_seg=False),
        **(_old_architecture(spec) if spec.old_format else {"architecture": _architecture(spec)}),
        **({} if spec.previous_stage is None else {"previous_stage": spec.previous_stage}),
        "batch_dice": spec.dimension == 2,
        **spec.configuration_overrides,
    }
    backward = [spec.transpose_forward.index(axis) for axis in range(3)]
    return {
        "dataset_name": "Dataset999_Random",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [32, 40, 32],
        "image_reader_writer": spec.reader,
        "transpose_forward": list(spec.transpose_forward),
        "transpose_backward": backward,
        "configurations": {spec.configuration: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        f"foreground_intensity_properties_{'by_modality' if spec.old_format else 'per_channel'}": {
            str(index): _STATISTICS for index in range(len(spec.channels))
        },
        **spec.plans_overrides,
    }


def dataset_json(spec: ModelFolderSpec) -> dict[str, Any]:
    """dataset.json of the model."""
    regions = (
        {} if spec.regions_class_order is None else {"regions_class_order": list(spec.regions_class_order)}
    )
    return {
        "modality" if spec.old_format else "channel_names": {
            str(index): name for index, name in enumerate(spec.channels)
        },
        "labels": spec.labels,
        **regions,
        "numTraining": 3,
        "file_ending": spec.file_ending,
        "name": "random",
    }


def fingerprint(spec: ModelFolderSpec) -> dict[str, Any]:
    """dataset_fingerprint.json of the model."""
    shape = [1, 48, 64] if spec.dimension == 2 else [32, 40, 32]
    spacing = [999.0, *spec.spacing] if spec.dimension == 2 else list(spec.spacing)
    return {
        "foreground_intensity_properties_per_channel": {
            str(i): _STATISTICS for i in range(len(spec.channels))
        },
        "median_relative_size_after_cropping": 1.0,
        "shapes_after_crop": [shape, shape, shape],
        "spacings": [spacing, spacing, spacing],
    }


def random_network(spec: ModelFolderSpec, *, seed: int) -> Any:
    """Build the network through nnU-Net and give it random weights with far-apart logits."""
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = _architecture(spec)
    heads = _label_manager(spec).num_segmentation_heads
    torch.manual_seed(seed)
    network = get_network_from_plans(
        architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"],
        spec.input_channels, heads, allow_init=True, deep_supervision=False,
    )  # fmt: skip
    last = network.decoder.seg_layers[-1]
    with torch.no_grad():
        # centred, so that every head wins somewhere
        logits = network(torch.randn((1, spec.input_channels, *spec.patch_size))).transpose(0, 1).flatten(1)
        scale = 5 / logits.std(dim=1)
        last.weight.mul_(scale.reshape(-1, *[1] * (last.weight.ndim - 1)))
        last.bias.sub_(logits.mean(dim=1)).mul_(scale)
    return network


def _weights(spec: ModelFolderSpec, *, seed: int) -> dict[str, Any]:
    network = random_network(spec, seed=seed)
    network.decoder.deep_supervision = spec.deep_supervision
    return {spec.prefix + name: value for name, value in network.state_dict().items()}


def write_model_folder(folder: Path, spec: ModelFolderSpec | None = None) -> Path:
    """Write a model folder as nnU-Net's training leaves it, and return its path."""
    import torch

    spec = spec or ModelFolderSpec()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("plans", plans(spec)),
        ("dataset", dataset_json(spec)),
        ("dataset_fingerprint", fingerprint(spec)),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=2))
    for index, fold in enumerate(spec.folds):
        axes = tuple(range(spec.dimension)) if spec.mirror_axes is None else spec.mirror_axes
        checkpoint = {
            "network_weights": _weights(spec, seed=spec.seed + index),
            "current_epoch": 1,
            "init_args": {"plans": plans(spec), "configuration": spec.configuration, "fold": fold,
                          "dataset_json": dataset_json(spec)},
            "trainer_name": spec.trainer,
            "inference_allowed_mirroring_axes": axes or None,
        }  # fmt: skip
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder
