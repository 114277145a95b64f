"""nnU-Net's own predictor, and a bundle of the same model folder made without the exporter."""

from __future__ import annotations

import hashlib
import json
import warnings
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.bundle import file_sha256, write_sums
from nnunet_losses.serve.image import Geometry, Image
from nnunet_losses.serve.schema import SCHEMA_VERSION
from tests.models import ModelFolderSpec, dataset_json, plans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def make_image(data: np.ndarray, spacing: tuple[float, float, float]) -> Image:
    """An image as a reader returns it."""
    geometry = Geometry(3, spacing[::-1], (0.0,) * 3, (1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    return Image(data.astype(np.float32), spacing, geometry, hashlib.sha256(data.tobytes()).hexdigest())


def _resampling(keywords: dict[str, Any]) -> dict[str, Any]:
    return {key: keywords[key] for key in ("order", "order_z", "force_separate_z")}


def _labels(spec: ModelFolderSpec) -> list[dict[str, Any]]:
    foreground = {name: value for name, value in spec.labels.items() if name not in ("background", "ignore")}
    if spec.regions_class_order is None:
        return [
            {"name": name, "channel": value, "value": value, "members": [value]}
            for name, value in foreground.items()
        ]
    return [
        {"name": name, "channel": index, "value": value, "members": np.atleast_1d(members).tolist()}
        for index, ((name, members), value) in enumerate(
            zip(foreground.items(), spec.regions_class_order, strict=True)
        )
    ]


def _channels(spec: ModelFolderSpec) -> list[dict[str, Any]]:
    statistics = plans(spec)["foreground_intensity_properties_per_channel"]["0"]
    kept = {key: statistics[key] for key in ("mean", "std", "percentile_00_5", "percentile_99_5")}
    return [
        {"name": name, "normalization": scheme, "use_mask": use_mask, **kept}
        for name, scheme, use_mask in zip(spec.channels, spec.normalization, spec.use_mask, strict=True)
    ]


def description(spec: ModelFolderSpec) -> dict[str, Any]:
    """model.json of a model folder; the networks' hashes are filled in later."""
    configuration = plans(spec)["configurations"][spec.configuration]
    axes = range(spec.dimension) if spec.mirror_axes is None else spec.mirror_axes
    labels = _labels(spec)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": "random",
        "reader": spec.reader,
        "file_ending": spec.file_ending,
        "head": "softmax" if spec.regions_class_order is None else "sigmoid",
        "heads": len(labels) + (spec.regions_class_order is None),
        "labels": labels,
        "ignore_label": spec.labels.get("ignore"),
        "members": [
            {
                "name": spec.configuration,
                "folds": [
                    {"name": str(fold), "file": f"fold_{fold}.onnx", "sha256": "", "checkpoint_sha256": ""}
                    for fold in spec.folds
                ],
                "preprocessing": {
                    "transpose_forward": list(spec.transpose_forward),
                    "spacing": list(spec.spacing),
                    "channels": _channels(spec),
                    "resampling_image": _resampling(configuration["resampling_fn_data_kwargs"]),
                    "resampling_logits": _resampling(configuration["resampling_fn_probabilities_kwargs"]),
                },
                "tiling": {"patch_size": list(spec.patch_size), "mirror_axes": list(axes)},
            }
        ],
        "training": {"trainer": spec.trainer, "dataset": "Dataset999_Random"},
        "golden": {"inputs": [], "mask": "mask.bin", "tile_input": "in.npy", "tile_logits": "out.npy"},
        "provenance": {
            "created": "2026-01-01T00:00:00Z",
            "exporter": "0",
            "nnunetv2": "0",
            "torch": "0",
            "onnx": "0",
            "opset": 20,
        },
    }


def write_bundle(root: Path, spec: ModelFolderSpec) -> Path:
    """A bundle around files ``fold_*.onnx`` that are already there (or are made up here)."""
    root.mkdir(parents=True, exist_ok=True)
    content = description(spec)
    for fold in content["members"][0]["folds"]:
        network = root / fold["file"]
        if not network.exists():
            network.write_bytes(b"no network")
        fold["sha256"] = file_sha256(network)
    for name in ("mask.bin", "in.npy", "out.npy"):
        (root / name).write_bytes(name.encode())
    (root / "model.json").write_text(json.dumps(content, indent=1))
    write_sums(root)
    return root


def export_network(network: Any, spec: ModelFolderSpec, path: Path) -> None:
    """Write an .onnx file with a dynamic batch."""
    import torch

    tile = torch.zeros(2, len(spec.channels), *spec.patch_size)
    with warnings.catch_warnings():  # of the exporter about itself
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (tile,),
            str(path),
            dynamo=True,
            opset_version=20,
            external_data=False,
            verbose=False,
            input_names=["tile"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        )


def write_linear_network(path: Path, spec: ModelFolderSpec, factors: list[float]) -> None:
    """An .onnx file that multiplies its channel by each factor: quicker to make than any exported network."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = (1, len(factors), *(1,) * spec.dimension)
    logits = ["batch", len(factors), *spec.patch_size]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["tile", "factors"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("tile", TensorProto.FLOAT, ["batch", 1, *spec.patch_size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, logits)],
        [numpy_helper.from_array(np.array(factors, np.float32).reshape(shape), "factors")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def as_functions(predictor: Any) -> list[Callable[[np.ndarray], np.ndarray]]:
    """A predictor's networks, one per fold, as functions of a tile."""
    import torch

    def function(weights: Any) -> Callable[[np.ndarray], np.ndarray]:
        network = deepcopy(predictor.network).eval()
        network.load_state_dict(weights)
        return lambda tile: network(torch.from_numpy(tile)).detach().numpy()

    return [function(weights) for weights in predictor.list_of_parameters]


def make_predictor(model_folder: Path, spec: ModelFolderSpec) -> Any:
    """nnU-Net's predictor on the CPU, with the trained model folder loaded."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model_folder), spec.folds)
    return predictor


@dataclass(frozen=True, eq=False)
class Case:
    """What nnU-Net makes of an image, step by step."""

    data: np.ndarray
    logits: np.ndarray
    resampled_logits: np.ndarray
    mask: np.ndarray
    is_regions: bool

    def margin(self) -> np.ndarray:
        """Distance of the two best resampled logits, or of the region logit nearest to zero."""
        values = self.resampled_logits.astype(np.float32)
        if self.is_regions:
            return np.abs(values).min(axis=0)
        best = np.sort(values, axis=0)
        return best[-1] - best[-2]


def nnunet_preprocess(image: Image, spec: ModelFolderSpec) -> tuple[np.ndarray, dict[str, Any]]:
    """Network input and properties of nnU-Net's DefaultPreprocessor."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans(spec))
    configuration = manager.get_configuration(spec.configuration)
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case_npy(
        image.data, None, {"spacing": image.spacing}, manager, configuration, dataset_json(spec)
    )
    return data, properties


def run_reference(predictor: Any, spec: ModelFolderSpec, image: Image) -> Case:
    """Run nnU-Net on an image."""
    import torch
    from nnunetv2.inference.export_prediction import (
        convert_predicted_logits_to_segmentation_with_correct_shape,
    )

    configuration, manager = predictor.configuration_manager, predictor.plans_manager
    data, properties = nnunet_preprocess(image, spec)
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data).contiguous())
    mask = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, manager, configuration, predictor.label_manager, properties
    )
    turned = [image.spacing[axis] for axis in manager.transpose_forward]
    planned = configuration.spacing
    resampled = configuration.resampling_fn_probabilities(
        logits,
        properties["shape_after_cropping_and_before_resampling"],
        planned if len(planned) == 3 else [turned[0], *planned],
        turned,
    )
    return Case(data, np.asarray(logits), np.asarray(resampled), mask, predictor.label_manager.has_regions)
