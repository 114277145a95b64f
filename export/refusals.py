"""What cannot be carried over faithfully, each by name. All reasons are collected, then raised together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.formats import ENDINGS
from nnunet_losses.serve.schema import Normalization, Reader

from .errors import ExportRefused, Reason
from .quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .model_folder import ModelFolder

RESAMPLING = "resample_data_or_seg_to_shape"
_RESAMPLING_ARGUMENTS = {"is_seg", "order", "order_z", "force_separate_z", "separate_z_anisotropy_threshold"}
_NEEDED = (
    "patch_size", "spacing", "normalization_schemes", "use_mask_for_norm", "preprocessor_name",
    "resampling_fn_data", "resampling_fn_data_kwargs",
    "resampling_fn_probabilities", "resampling_fn_probabilities_kwargs",
)  # fmt: skip
_NEEDED_BY_CASCADES = ("resampling_fn_seg", "resampling_fn_seg_kwargs")
# what decides a prediction besides the weights
_COMPARED = (*_NEEDED, "architecture", "previous_stage")


def refuse_unfaithful(model: ModelFolder) -> None:
    """Raise unless the runtime can do exactly what nnU-Net's predictor does with this model.

    Raises:
        ExportRefused: with every reason that was found.
    """
    reasons = list(_unreadable(model)) or [reason for check in _CHECKS for reason in check(model)]
    if reasons:
        raise ExportRefused(reasons)


def _unreadable(model: ModelFolder) -> Iterator[Reason]:
    """Find what stops nnU-Net's own managers: nothing else can be checked then."""
    yield from _missing_plans(model)
    try:
        _ = model.configuration, model.labels
    except Exception as error:  # noqa: BLE001 - whatever nnU-Net raises here is the reason
        yield Reason(
            f"nnU-Net cannot interpret plans.json or dataset.json ({type(error).__name__}: {error}).",
            "Restore the files that the training wrote; plans of an old format that nnU-Net cannot convert "
            "must be made again with nnUNetv2_plan_experiment.",
        )
        return
    missing = [key for key in _NEEDED if key not in model.configuration.configuration]
    if missing:
        yield Reason(
            f"Configuration {model.first.configuration} in plans.json lacks {', '.join(missing)}.",
            "Restore the plans.json that the training wrote.",
        )


def _missing_plans(model: ModelFolder) -> Iterator[Reason]:
    remedy = "Restore the files that the training wrote."
    for key in ("configurations", "transpose_forward", "transpose_backward", "image_reader_writer"):
        if key not in model.plans:
            yield Reason(f"plans.json lacks {key}.", remedy)
    if "labels" not in model.dataset or "file_ending" not in model.dataset:
        yield Reason("dataset.json lacks labels or file_ending.", remedy)
    names = model.dataset.get("channel_names") or model.dataset.get("modality") or {}
    if not isinstance(names, dict) or sorted(map(str, names)) != sorted(str(i) for i in range(len(names))):
        yield Reason(f"dataset.json numbers its channels {list(names)}, not 0, 1 ….", remedy)
    elif not names:
        yield Reason("dataset.json has no channel_names.", remedy)


def _preprocessor(model: ModelFolder) -> Iterator[Reason]:
    name = model.configuration.preprocessor_name
    if name != "DefaultPreprocessor":
        yield Reason(
            f"Preprocessor {name}: the runtime reproduces DefaultPreprocessor alone.",
            "Train with DefaultPreprocessor, or run this model with nnU-Net.",
        )


def _label_manager(model: ModelFolder) -> Iterator[Reason]:
    from nnunetv2.utilities.label_handling.label_handling import LabelManager  # noqa: PLC0415

    if type(model.labels) is not LabelManager:
        yield Reason(
            f"Label manager {type(model.labels).__name__}: the runtime knows nnU-Net's LabelManager alone.",
            "Train with the standard label manager, or run this model with nnU-Net.",
        )
        return
    with quiet():
        standard = LabelManager(model.dataset["labels"], model.dataset.get("regions_class_order"))
    if model.labels.inference_nonlin is not standard.inference_nonlin:
        yield Reason(
            f"Inference nonlinearity {model.labels.inference_nonlin}: the runtime knows softmax and sigmoid.",
            "Train with the standard label manager.",
        )


def _labels(model: ModelFolder) -> Iterator[Reason]:
    labels = model.labels
    foreground = [
        value for name, value in model.dataset["labels"].items() if name not in ("background", "ignore")
    ]
    if not foreground:
        yield Reason("dataset.json has no label besides the background.", "There is nothing to segment.")
    if labels.has_regions:
        if any(int(value) < 1 for value in labels.regions_class_order):
            yield Reason(
                f"regions_class_order {labels.regions_class_order} paints a region with 0, the background.",
                "Give every region a value of at least 1 and train again.",
            )
        # nnU-Net chooses the mask's type by the number of labels, not by their values
        if len(labels.foreground_labels) < 255 and max(map(int, labels.regions_class_order), default=0) > 255:
            yield Reason(
                f"regions_class_order {labels.regions_class_order} has a value above 255, which nnU-Net's "
                "masks of 8 bits cannot hold.",
                "Give every region a value of at most 255 and train again.",
            )
        return
    if list(labels.all_labels) != list(range(len(labels.all_labels))):
        yield Reason(
            f"Label values {[int(value) for value in labels.all_labels]} are not consecutive: nnU-Net writes "
            "the channel's number, not the label's value.",
            "Renumber the labels 0, 1, 2 … and train again.",
        )
    elif len(foreground) + 1 != len(labels.all_labels):
        yield Reason(
            "Two names of dataset.json share one label value.", "Give every label a value of its own."
        )


def _resampling(model: ModelFolder) -> Iterator[Reason]:
    configuration = model.configuration.configuration
    for kind in ("data", "probabilities"):
        name = configuration[f"resampling_fn_{kind}"]
        if name != RESAMPLING:
            yield Reason(
                f"resampling_fn_{kind} {name}: the runtime reproduces {RESAMPLING} alone.",
                "Plan and train with the default resampling, or run this model with nnU-Net.",
            )
            continue
        yield from _resampling_arguments(kind, configuration[f"resampling_fn_{kind}_kwargs"])


def _resampling_arguments(kind: str, arguments: dict[str, Any]) -> Iterator[Reason]:
    unknown = set(arguments) - _RESAMPLING_ARGUMENTS
    wrong = {key: arguments[key] for key in sorted(unknown)}
    wrong |= {key: arguments[key] for key in ("order", "order_z") if arguments.get(key, 0) not in (0, 1, 3)}
    if arguments.get("is_seg", False):
        wrong["is_seg"] = True
    if arguments.get("separate_z_anisotropy_threshold", 3) != 3:
        wrong["separate_z_anisotropy_threshold"] = arguments["separate_z_anisotropy_threshold"]
    if wrong:
        yield Reason(
            f"resampling_fn_{kind}_kwargs {wrong}: the runtime knows orders 0, 1 and 3, is_seg False and "
            "nnU-Net's threshold of 3.",
            "Plan and train with the default resampling, or run this model with nnU-Net.",
        )


def _reader(model: ModelFolder) -> Iterator[Reason]:
    name = model.plans["image_reader_writer"]
    if name not in list(Reader):
        yield Reason(
            f"Reader {name}: the runtime reproduces {', '.join(Reader)}.",
            "Train with one of these readers (overwrite_image_reader_writer in dataset.json).",
        )
    elif model.dataset["file_ending"] not in ENDINGS[Reader(name)]:
        yield Reason(
            f"File ending {model.dataset['file_ending']} with {name}: the runtime reads and writes "
            f"{', '.join(ENDINGS[Reader(name)])}.",
            "Convert the data set to one of these, or run this model with nnU-Net.",
        )
    elif name == Reader.SIMPLE_ITK_REORIENT and (largest := _largest_value(model)) > 255:
        yield Reason(
            f"{name} writes masks of 8 bits, which cannot hold the label {largest}.",
            "Train with SimpleITKIO or NibabelIOWithReorient (overwrite_image_reader_writer).",
        )


def _largest_value(model: ModelFolder) -> int:
    labels = model.labels
    return max(map(int, labels.regions_class_order if labels.has_regions else labels.all_labels), default=0)


def _normalization(model: ModelFolder) -> Iterator[Reason]:
    schemes, masks = model.configuration.normalization_schemes, model.configuration.use_mask_for_norm
    if not len(schemes) == len(masks) == len(model.channel_names):
        yield Reason(
            f"{len(model.channel_names)} channels, but {len(schemes)} normalization_schemes and "
            f"{len(masks)} use_mask_for_norm.",
            "Restore the plans.json that the training wrote.",
        )
    for scheme in sorted({scheme for scheme in schemes if scheme not in list(Normalization)}):
        yield Reason(
            f"Normalisation {scheme}: the runtime knows {', '.join(Normalization)}.",
            "Train with one of these, or run this model with nnU-Net.",
        )
    yield from _ct_statistics(model)


def _ct_statistics(model: ModelFolder) -> Iterator[Reason]:
    try:
        statistics = model.plans_manager.foreground_intensity_properties_per_channel
    except KeyError:
        statistics = {}
    needed = ("mean", "std", "percentile_00_5", "percentile_99_5")
    for index, scheme in enumerate(model.configuration.normalization_schemes):
        if scheme == Normalization.CT and not set(needed) <= set(statistics.get(str(index), {})):
            yield Reason(
                f"Channel {index} has CTNormalization, but plans.json lacks its {', '.join(needed)}.",
                "Restore the plans.json that the training wrote.",
            )


def _cascade(model: ModelFolder) -> Iterator[Reason]:
    """How a cascade resamples the previous stage's mask."""
    if model.configuration.previous_stage_name is None:
        return
    remedy = "Plan and train with the default resampling, or run this model with nnU-Net."
    configuration = model.configuration.configuration
    missing = [key for key in _NEEDED_BY_CASCADES if configuration.get(key) is None]
    if missing:
        yield Reason(
            f"Configuration {model.first.configuration} is a cascade's second stage, but lacks "
            f"{', '.join(missing)}.",
            "Restore the plans.json that the training wrote.",
        )
        return
    name, arguments = (configuration[key] for key in _NEEDED_BY_CASCADES)
    if name != RESAMPLING:
        yield Reason(f"resampling_fn_seg {name}: the runtime reproduces {RESAMPLING} alone.", remedy)
        return
    known = {"is_seg": (True,), "order": (0, 1), "order_z": (0,), "force_separate_z": (None, True, False),
             "separate_z_anisotropy_threshold": (3,)}  # fmt: skip
    given = {"is_seg": False, "order": 3, "order_z": 0} | arguments
    wrong = {key: value for key, value in given.items() if value not in known.get(key, ())}
    if wrong:
        yield Reason(
            f"resampling_fn_seg_kwargs {wrong}: the runtime knows is_seg True, orders 0 and 1, order_z 0 and "
            "nnU-Net's threshold of 3.",
            remedy,
        )
    yield from _label_rule()


def _label_rule() -> Iterator[Reason]:
    """Which label wins between two voxels depends on the version of batchgenerators."""
    from importlib.metadata import version  # noqa: PLC0415
    from inspect import signature  # noqa: PLC0415

    from batchgenerators.augmentations.utils import resize_segmentation  # noqa: PLC0415

    if "seg_tiebreak" not in signature(resize_segmentation).parameters:
        yield Reason(
            f"batchgenerators {version('batchgenerators')} resamples labels by a threshold; the runtime by "
            "the largest share, as newer versions do.",
            "Update batchgenerators (pip install -U batchgenerators), and export again.",
        )


def _geometry(model: ModelFolder) -> Iterator[Reason]:
    forward, backward = list(model.plans["transpose_forward"]), list(model.plans["transpose_backward"])
    if sorted(forward) != [0, 1, 2] or backward != [forward.index(axis) for axis in range(3)]:
        yield Reason(
            f"transpose_backward {backward} does not undo transpose_forward {forward}.",
            "Restore the plans.json that the training wrote.",
        )
    patch, spacing = model.configuration.patch_size, model.configuration.spacing
    if len(patch) not in (2, 3) or len(spacing) != len(patch):
        yield Reason(
            f"Patch size {list(patch)} with spacing {list(spacing)}: both must have 2 or 3 entries.",
            "Restore the plans.json that the training wrote.",
        )


def _mirroring(model: ModelFolder) -> Iterator[Reason]:
    axes, dimension = model.first.mirror_axes, len(model.configuration.patch_size)
    if any(axis not in range(dimension) for axis in axes) or len(set(axes)) < len(axes):
        yield Reason(
            f"Mirror axes {list(axes)} in the checkpoint do not fit a patch of {dimension} axes.",
            "Train again with mirroring over the patch's axes.",
        )


def _folds(model: ModelFolder) -> Iterator[Reason]:
    """Folds are averaged, so they must differ in nothing but the weights."""
    facts: dict[str, Callable[[Any], Any]] = {
        "trainer": lambda checkpoint: checkpoint.trainer,
        "configuration": lambda checkpoint: checkpoint.configuration,
        "mirror axes": lambda checkpoint: checkpoint.mirror_axes,
        "plans": lambda checkpoint: inference_plans(checkpoint.plans, checkpoint.configuration),
        "labels and channels": lambda checkpoint: _labels_and_channels(checkpoint.dataset),
    }
    for what, fact in facts.items():
        other = [c.fold for c in model.checkpoints[1:] if fact(c) != fact(model.first)]
        if other:
            yield Reason(
                f"Fold {' and '.join(other)} has other {what} than fold {model.first.fold}.",
                "Export folds of one and the same training set-up together (--folds).",
            )


def plans_remark(model: ModelFolder) -> str | None:
    """Say where plans.json differs from the plans of the training: nnU-Net predicts with plans.json."""
    trained = inference_plans(model.first.plans, model.first.configuration)
    present = inference_plans(model.plans, model.first.configuration)
    if trained is None or present is None:
        return None
    differing = sorted(key for key in present if present[key] != trained[key])
    if not differing:
        return None
    return (
        f"Note: {', '.join(differing)} of plans.json is not what the network was trained with; "
        "the bundle follows plans.json, as nnU-Net's predictor does"
    )


def _labels_and_channels(dataset: dict[str, Any] | None) -> Any:
    return dataset and tuple(
        dataset.get(key) for key in ("labels", "regions_class_order", "channel_names", "modality")
    )


def inference_plans(plans: dict[str, Any] | None, configuration: str) -> dict[str, Any] | None:
    """Reduce plans to what decides a prediction, ``inherits_from`` resolved; None for unknown plans."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager  # noqa: PLC0415

    if not plans or configuration not in plans.get("configurations", {}):
        return None
    with quiet():
        resolved = PlansManager(plans).get_configuration(configuration).configuration
    names = ("transpose_forward", "image_reader_writer", "label_manager")
    statistics = plans.get("foreground_intensity_properties_per_channel")
    compared = (*_COMPARED, *(_NEEDED_BY_CASCADES if resolved.get("previous_stage") else ()))
    return {
        **{key: resolved.get(key) for key in compared},
        **{key: plans.get(key) for key in names},
        "foreground_intensity_properties": statistics
        or plans.get("foreground_intensity_properties_by_modality"),
    }


_CHECKS: tuple[Callable[[ModelFolder], Iterator[Reason]], ...] = (
    _preprocessor, _label_manager, _labels, _resampling, _reader, _normalization, _cascade, _geometry,
    _mirroring, _folds,
)  # fmt: skip
