"""nnU-Net's own predictor on the CPU: the reference for everything that the exporter claims."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.pipeline.ensemble import probability_margins
from nnunet_losses.serve.schema import Head

from .checkpoint import unwrapped
from .errors import ExportError
from .margin import margin
from .quiet import environment, quiet
from .trainer_class import find_trainer_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import KeepLargest

    from .members import MemberFolder
    from .model_folder import ModelFolder


def reference_predictor(model: ModelFolder) -> Any:
    """Build ``nnUNetPredictor`` with its defaults (step 0.5, Gaussian, mirroring) from the model's files.

    nnU-Net reads the files itself; the exporter's reading is not involved, but for two repairs without which
    nnU-Net would not load the model at all: DDP and compile prefixes are removed, and the trainer's class is
    shown to nnU-Net's search, which may be broken by a torchvision that does not fit torch.
    """
    import torch  # noqa: PLC0415
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor  # noqa: PLC0415

    with (
        quiet(),
        environment(nnUNet_compile="false"),
        _visible_trainer(model),
        _loadable_folder(model) as folder,
    ):
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(
            str(folder), tuple(checkpoint.fold for checkpoint in model.checkpoints), model.checkpoint_name
        )
    return predictor


class Reference:
    """nnU-Net's own predictors of all members of a bundle, and its postprocessing.

    Attributes:
        members: the model folders in their parts.
        predictors: ``nnUNetPredictor`` by the member's name.
        steps: of the postprocessing.
    """

    def __init__(self, members: Sequence[MemberFolder], steps: Sequence[KeepLargest] = ()) -> None:
        self.members = tuple(members)
        self.predictors = {member.name: reference_predictor(member.model) for member in members}
        self.steps = tuple(steps)

    @contextmanager
    def case(self, inputs: Sequence[Path]) -> Iterator[ReferenceCase]:
        """One case, with a place for nnU-Net's files."""
        with TemporaryDirectory() as scratch:
            yield ReferenceCase(self, tuple(inputs), Path(scratch))


class ReferenceCase:
    """What nnU-Net makes of one case: everything is computed when it is asked for, and once.

    Predictions go from files to files, as with ``nnUNetv2_predict -device cpu``, ``nnUNetv2_ensemble`` and
    ``nnUNetv2_apply_postprocessing``, whose functions are called.
    """

    def __init__(self, reference: Reference, inputs: tuple[Path, ...], scratch: Path) -> None:
        self._reference = reference
        self._members = {member.name: member for member in reference.members}
        self._inputs = inputs
        self._scratch = scratch
        self._logits: dict[str, Any] = {}  # (heads, *resampled shape), float16, by member
        self._network_inputs: dict[str, tuple[NDArray[np.float32], dict[str, Any]]] = {}

    def network_input(self, name: str) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Read and preprocess the case for a member: float32 (channels, *shape) and nnU-Net's properties."""
        if name not in self._network_inputs:
            self._network_inputs[name] = preprocess(
                self._reference.predictors[name], self._inputs, self.previous_mask(name)
            )
        return self._network_inputs[name]

    def previous_mask(self, name: str) -> Path | None:
        """File with the mask of a cascade's previous stage; None for a member without one."""
        previous = self._members[name].previous
        return None if previous is None else self._predicted(previous)

    def mask(self) -> Path:
        """File with the mask of all members, postprocessed."""
        averaged = [member.name for member in self._reference.members if member.averaged]
        several = len(averaged) > 1
        files = [self._predicted(name, probabilities=several) for name in averaged]
        mask = self._averaged(files) if several else files[0]
        return self._postprocessed(mask) if self._reference.steps else mask

    def margins(self) -> NDArray[np.float32]:
        """Distance of each voxel (z, y, x) from another label, in logits, before postprocessing."""
        from nnunetv2.ensembling.ensemble import average_probabilities  # noqa: PLC0415

        averaged = [member.name for member in self._reference.members if member.averaged]
        if len(averaged) == 1:
            _, properties = self.network_input(averaged[0])
            return margin(self._reference.predictors[averaged[0]], self._logits[averaged[0]], properties)
        files = [_probabilities(self._predicted(name, probabilities=True)) for name in averaged]
        probabilities = average_probabilities([str(file) for file in files])
        labels = self._reference.predictors[averaged[0]].label_manager
        return probability_margins(probabilities, Head.SIGMOID if labels.has_regions else Head.SOFTMAX)

    def _predicted(self, name: str, *, probabilities: bool = False) -> Path:
        """Predict with one member; its probabilities lie beside the mask where they are wanted.

        Raises:
            ExportError: nnU-Net fails, as it does where logits overflow float16.
        """
        predictor = self._reference.predictors[name]
        ending = predictor.dataset_json["file_ending"]
        folder = self._scratch / f"{name}{'_probabilities' if probabilities else ''}"
        case = self._inputs[0].name.removesuffix(ending)[: -len("_0000")]
        target = folder / f"{case}{ending}"
        if target.is_file():
            return target
        folder.mkdir(exist_ok=True)
        previous = self.previous_mask(name)
        files, logits = [str(path) for path in self._inputs], list[Any]()
        with quiet(), _captured(predictor, logits):
            try:
                predictor.predict_from_files_sequential(
                    [files],
                    [str(folder / case)],
                    save_probabilities=probabilities,
                    folder_with_segs_from_prev_stage=None if previous is None else str(previous.parent),
                )
            except RuntimeError as error:
                raise ExportError(f"nnU-Net itself fails on {self._inputs[0].name}: {error}") from error
        self._logits[name] = logits[0]
        return target

    def _averaged(self, files: Sequence[Path]) -> Path:
        from nnunetv2.ensembling.ensemble import merge_files  # noqa: PLC0415

        predictor = self._reference.predictors[self._reference.members[0].name]
        ending = predictor.dataset_json["file_ending"]
        folder = self._scratch / "ensemble"
        folder.mkdir(exist_ok=True)
        target = folder / files[0].name
        merge_files(
            [str(_probabilities(file)) for file in files],
            str(target).removesuffix(ending),
            ending,
            predictor.plans_manager.image_reader_writer_class(),
            predictor.label_manager,
        )
        return target

    def _postprocessed(self, mask: Path) -> Path:
        from nnunetv2.postprocessing.remove_connected_components import (  # noqa: PLC0415
            load_postprocess_save,
            remove_all_but_largest_component_from_segmentation,
        )

        predictor = self._reference.predictors[self._reference.members[0].name]
        folder = self._scratch / "postprocessed"
        folder.mkdir(exist_ok=True)
        arguments = [
            {"labels_or_regions": tuple(step.values), "background_label": step.background}
            for step in self._reference.steps
        ]
        functions = [remove_all_but_largest_component_from_segmentation] * len(arguments)
        reader = predictor.plans_manager.image_reader_writer_class()
        load_postprocess_save(str(mask), str(folder / mask.name), reader, functions, arguments)
        return folder / mask.name


def preprocess(
    predictor: Any, inputs: Sequence[Path], previous: Path | None = None
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Read and preprocess one case: float32 (channels, *resampled shape) and nnU-Net's properties.

    Args:
        predictor: nnU-Net's.
        inputs: files of the case.
        previous: mask of a cascade's previous stage; its labels are appended as channels.
    """
    import numpy as np  # noqa: PLC0415
    from nnunetv2.utilities.label_handling.label_handling import convert_labelmap_to_one_hot  # noqa: PLC0415

    preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
    plans = predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json
    files = [str(path) for path in inputs]
    with quiet():
        data, labels, properties = preprocessor.run_case(
            files, None if previous is None else str(previous), *plans
        )
        if previous is not None:
            foreground = predictor.label_manager.foreground_labels
            data = np.vstack((data, convert_labelmap_to_one_hot(labels[0], foreground, data.dtype)))
    return data, properties


def _probabilities(mask: Path) -> Path:
    """File with the probabilities, which nnU-Net writes beside the mask."""
    return next(mask.parent.glob("*.npz"))


def tiles(predictor: Any, data: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Pad preprocessed data and cut it as nnU-Net does: (slices, tile (1, channels, *patch) tensor)."""
    import torch  # noqa: PLC0415
    from acvl_utils.cropping_and_padding.padding import pad_nd_image  # noqa: PLC0415

    patch = predictor.configuration_manager.patch_size
    padded, _ = pad_nd_image(torch.from_numpy(data), patch, "constant", {"value": 0}, True, None)  # noqa: FBT003
    for slices in predictor._internal_get_sliding_window_slicers(padded.shape[1:]):  # noqa: SLF001 - there is no public way
        yield slices, padded[slices][None].contiguous()


@contextmanager
def _captured(predictor: Any, logits: list[Any]) -> Iterator[None]:
    """Keep the logits that the predictor computes on its way from file to file."""
    predict = predictor.predict_logits_from_preprocessed_data

    def captured(data: Any) -> Any:
        logits.append(predict(data))
        return logits[-1]

    predictor.predict_logits_from_preprocessed_data = captured
    try:
        yield
    finally:
        del predictor.predict_logits_from_preprocessed_data


@contextmanager
def _visible_trainer(model: ModelFolder) -> Iterator[None]:
    """Show the trainer's class in the first module that nnU-Net's search looks into."""
    module = import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer")

    name = model.first.trainer
    if hasattr(module, name):
        yield
        return
    setattr(module, name, find_trainer_class(name))
    try:
        yield
    finally:
        delattr(module, name)


@contextmanager
def _loadable_folder(model: ModelFolder) -> Iterator[Path]:
    """Give the model folder, or a copy with plain parameter names where a checkpoint has prefixes."""
    import torch  # noqa: PLC0415

    if all(unwrapped(checkpoint.weights) is checkpoint.weights for checkpoint in model.checkpoints):
        yield model.path
        return
    with TemporaryDirectory() as scratch:
        for name in ("plans.json", "dataset.json"):
            (Path(scratch) / name).write_bytes((model.path / name).read_bytes())
        for checkpoint in model.checkpoints:
            content = torch.load(checkpoint.path, map_location="cpu", weights_only=False)
            content["network_weights"] = unwrapped(content["network_weights"])
            folder = Path(scratch) / f"fold_{checkpoint.fold}"
            folder.mkdir()
            torch.save(content, folder / model.checkpoint_name)
        yield Path(scratch)
